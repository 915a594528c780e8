// SPDX-License-Identifier: MIT OR Apache-2.0

//! A picture sheet: photographs in rows, before and after elements.

use std::path::PathBuf;

use clap::Args;
use image::{RgbImage, imageops};

use cnnvideo_eval::{
    Result, element::run_description, frame::RawFrame, images::open_rgb, init, output::write_image,
};

#[derive(Args)]
pub(crate) struct SheetArguments {
    /// Photographs, one row each
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// Elements of a column in the syntax of gst-launch-1.0; the first column shows the photographs
    #[arg(long, required = true)]
    filter: Vec<String>,
    /// Part of the photographs to show
    #[arg(long, value_name = "X,Y,WIDTH,HEIGHT", value_delimiter = ',', num_args = 1)]
    crop: Vec<u32>,
    /// Magnification in whole pixels
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    zoom: u32,
    /// Image file to write (.png or .jpg)
    #[arg(long)]
    out: PathBuf,
}

/// Writes the sheet.
///
/// # Errors
/// A photograph cannot be read, a filter fails, `--crop` is not four numbers inside the photograph,
/// or the sheet cannot be written.
pub(crate) fn run(arguments: &SheetArguments) -> Result<()> {
    init()?;
    let rows = arguments.photos.iter().map(|photo| row(arguments, &open_rgb(photo)?));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let width = rows.iter().map(RgbImage::width).max().unwrap_or(0);
    let height = rows.iter().map(RgbImage::height).sum();
    let mut sheet = RgbImage::new(width, height);
    let mut y = 0;
    for row in rows {
        imageops::replace(&mut sheet, &row, 0, y);
        y += i64::from(row.height());
    }
    write_image(&arguments.out, &sheet)
}

/// Returns a photograph before and after each filter, side by side.
fn row(arguments: &SheetArguments, photo: &RgbImage) -> Result<RgbImage> {
    let frame = RawFrame::i420_from_image(photo)?;
    let mut pictures = vec![part(arguments, photo)?];
    for filter in &arguments.filter {
        let output = run_description(filter, std::slice::from_ref(&frame))?;
        let result = output.frames.first().ok_or("no frame came out of the filter")?;
        pictures.push(part(arguments, &result.to_image()?)?);
    }
    let (width, height) = pictures.last().expect("there is the photograph").dimensions();
    let mut row = RgbImage::new(width * pictures.len() as u32, height);
    for (i, picture) in pictures.iter().enumerate() {
        imageops::replace(&mut row, picture, i64::from(width) * i as i64, 0);
    }
    Ok(row)
}

/// Returns the part of a picture to show, magnified.
fn part(arguments: &SheetArguments, picture: &RgbImage) -> Result<RgbImage> {
    let (width, height) = picture.dimensions();
    let [x, y, part_width, part_height] = match arguments.crop[..] {
        [] => [0, 0, width & !1, height & !1],
        [x, y, w, h] if w > 0 && h > 0 && x + w <= width && y + h <= height => [x, y, w, h],
        _ => {
            return Err(format!("--crop: four numbers inside of {width}x{height} pixels").into());
        }
    };
    let part = imageops::crop_imm(picture, x, y, part_width, part_height).to_image();
    let zoom = arguments.zoom;
    let filter = imageops::FilterType::Nearest;
    Ok(imageops::resize(&part, part_width * zoom, part_height * zoom, filter))
}
