// SPDX-License-Identifier: MIT OR Apache-2.0

//! Forged region masks (`cnn-region-mask`): a mask that does not fit is ignored, and no frame is
//! lost.

use gst_video::VideoFormat;
use gstcnnvideo::shared::{REGION_MASK_META, RegionMask};

use super::random_corpus;
use crate::{
    Target,
    elements::{self, Meter, Running},
    input::Input,
};

/// The target.
pub const TARGET: Target = Target {
    name: "region-mask",
    about: "region masks with forged fields",
    corpus: || random_corpus(64, 96),
    dictionary: &[],
    mutate: None,
    repair: None,
    run,
};

/// Fields of the meta, and one that it does not have.
const FIELDS: [&str; 9] = [
    "width",
    "height",
    "stride",
    "labels",
    "mask",
    "frame-width",
    "frame-height",
    "scaled",
    "other",
];
/// Sizes of frames.
const SIZES: [(u32, u32); 5] = [(16, 16), (1, 1), (33, 17), (64, 2), (8, 40)];
/// Most changes of a mask.
const MAX_CHANGES: usize = 6;

fn run(data: &[u8]) {
    elements::init();
    let mut input = Input::new(data);
    let frame = input.choose(&SIZES);
    let info = elements::info(VideoFormat::Gray8, frame.0, frame.1);
    let mut buffer = elements::frame(info.size(), 0);
    forge(buffer.get_mut().expect("a new buffer has one owner"), frame, &mut input);

    for size in SIZES {
        let labels = RegionMask::of(&buffer, size).and_then(|mask| mask.labels(size));
        if let Some(labels) = labels {
            assert_eq!(labels.dim(), (size.1 as usize, size.0 as usize));
        }
    }
    let filter = match input.byte() % 16 {
        0 => {
            let pairs = vec![[buffer.clone(), buffer]];
            let result = Meter::new("test", &info).compare(pairs);
            return result.expect("a mask is no reason to fail");
        }
        1..=3 => "cnnsmooth threads=1 foreground-strength=0.2",
        4..=6 => "cnndenoise threads=1 foreground-strength=0.2 noise-level=9",
        _ => return,
    };
    let count = Running::new(filter, &info).push(buffer).expect("a mask is no reason to fail");
    assert_eq!(count, 1, "{filter}: a frame is lost");
}

/// Attaches a mask to a buffer that holds a frame of size `frame` and changes some of its fields.
fn forge(buffer: &mut gst::BufferRef, frame: (u32, u32), input: &mut Input<'_>) {
    let (width, height) = if input.one_in(3) { input.choose(&SIZES) } else { frame };
    let labels = (0..width * height).map(|i| (i % 11) as u8).collect();
    let mask = RegionMask::new(width, height, labels).expect("there is one label per pixel");
    mask.attach(buffer, frame);
    let mut meta = gst::meta::CustomMeta::from_mut_buffer(buffer, REGION_MASK_META)
        .expect("the mask was attached");
    for _ in 0..input.below(1 + MAX_CHANGES) {
        let field = input.choose(&FIELDS);
        let usual = u64::from(if field.contains("height") { height } else { width });
        let number = input.integer(usual);
        let structure = meta.mut_structure();
        match input.byte() % 12 {
            0 => structure.remove_field(field),
            1 => structure.set(field, number as i32),
            2 => structure.set(field, number),
            3 => structure.set(field, number.is_multiple_of(2)),
            4 => structure.set(field, number.to_string()),
            5 => structure.set(field, input.float(10.0)),
            6 => structure.set(field, gst::Buffer::new()),
            7 => {
                let size = number as usize % 5000;
                structure.set(field, gst::Buffer::from_mut_slice(input.bytes(size).to_vec()));
            }
            8 => structure.set(field, None::<gst::Buffer>),
            _ => structure.set(field, number as u32),
        }
    }
}
