// SPDX-License-Identifier: MIT OR Apache-2.0

//! The HTML page of the report. It is self-contained.

use std::{fmt::Write, io::Cursor};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Outcome, Results, Strip,
    plot::{escape, lines, short},
};
use cnnvideo_eval::Result;
use image::RgbImage;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8885; --soft: #8881 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 1200px }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
code { overflow-wrap: anywhere; background: var(--soft); padding: .1em .3em; border-radius: 4px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 7.5rem } th code { white-space: normal }
small { opacity: .65 }
.plots, .strip { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)) }
.strip { grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)) }
figure { margin: 0 } img { width: 100%; height: auto; display: block; border-radius: 4px }
figcaption { font-size: .85rem; opacity: .8; overflow-wrap: anywhere } figcaption span { white-space: nowrap; margin-right: .8em }
figcaption i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .3em }
svg { width: 100%; height: auto } .grid { stroke: var(--line) }
.tick { font-size: 11px; fill: currentColor; opacity: .7 } .title { font-size: 13px; font-weight: 600; fill: currentColor }
";

/// Measures that the table shows, by name, with title and unit.
const SHOWN: [(&str, &str); 9] = [
    ("psnr", "PSNR, dB"),
    ("ssim", "SSIM"),
    ("ms-ssim", "MS-SSIM"),
    ("mse", "MSE"),
    ("gradient-sobel", "Sobel difference"),
    ("gradient-laplacian", "Laplacian difference"),
    ("histogram-chi-square", "histogram chi-square"),
    ("histogram-earth-movers", "earth mover's distance, 8-bit units"),
    ("flicker", "flicker, 8-bit units"),
];

/// Returns the page as HTML.
pub(super) fn write(results: &Results, strips: &[Strip]) -> Result<String> {
    let mut page = format!(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' \
         content='width=device-width,initial-scale=1'>\
         <title>cnnvideo: evaluation</title><style>{STYLE}</style></head><body><h1>cnnvideo {}: \
         evaluation</h1>",
        results.version
    );
    let quoted =
        |word: &String| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() };
    let command: Vec<_> = results.command.iter().map(quoted).collect();
    write!(page, "<p><code>evaluate {}</code></p>", escape(&command.join(" ")))?;
    write!(
        page,
        "<p>Means over sources of the means over their frames; in small print the 95% \
         confidence interval of the mean \
         (bootstrap, seed {}). {}</p>",
        results.seed,
        if results.noise > 0.0 {
            format!(
                "White noise of sigma {} (8-bit units) was added to the elements' input.",
                results.noise
            )
        } else {
            "The reference is the input of the elements.".to_owned()
        }
    )?;
    table(&mut page, results)?;
    by_source(&mut page, results)?;
    curves(&mut page, &results.outcomes)?;
    for strip in strips {
        write!(page, "<h2>{}</h2><div class='strip'>", escape(&strip.source))?;
        for (name, picture) in &strip.cells {
            let data = STANDARD.encode(jpeg(picture)?);
            write!(
                page,
                "<figure><img loading='lazy' alt='{0}' width='{1}' height='{2}' \
                 src='data:image/jpeg;base64,{data}'><figcaption>{0}</figcaption></figure>",
                escape(name),
                picture.width(),
                picture.height()
            )?;
        }
        page.push_str("</div><div class='plots'>");
        let histograms: Vec<_> = strip
            .histograms
            .iter()
            .map(|(name, bins)| (name.clone(), bins.map(|share| 100.0 * share).to_vec()))
            .collect();
        page.push_str(&lines("luma histogram, % of the pixels", "value", &histograms));
        page.push_str("</div>");
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn table(page: &mut String, results: &Results) -> Result<()> {
    page.push_str("<h2>All sources</h2><div class='scroll'><table><tr><th>element</th>");
    let has =
        |name: &str| results.summaries.iter().any(|s| s.measures.iter().any(|(n, _)| *n == name));
    let shown: Vec<_> = SHOWN.into_iter().filter(|(name, _)| has(name)).collect();
    for (_, title) in &shown {
        write!(page, "<th>{}</th>", escape(title))?;
    }
    page.push_str("<th>ms a frame</th></tr>");
    for summary in &results.summaries {
        write!(page, "<tr><td><code>{}</code></td>", escape(&summary.element))?;
        for (name, _) in &shown {
            match summary.measures.iter().find(|(n, _)| n == name) {
                Some((_, v)) => write!(
                    page,
                    "<td>{}<br><small>{} to {}</small></td>",
                    short(v.mean),
                    short(v.low),
                    short(v.high)
                )?,
                None => page.push_str("<td>-</td>"),
            }
        }
        write!(page, "<td>{:.1}</td></tr>", summary.milliseconds)?;
    }
    page.push_str("</table></div>");
    Ok(())
}

fn by_source(page: &mut String, results: &Results) -> Result<()> {
    page.push_str(
        "<h2>By source: PSNR in dB / SSIM</h2><div class='scroll'><table><tr><th>source</th>",
    );
    for summary in &results.summaries {
        write!(page, "<th><code>{}</code></th>", escape(&summary.element))?;
    }
    let mut sources: Vec<&str> =
        results.outcomes.iter().map(|outcome| outcome.source.as_str()).collect();
    sources.dedup();
    for source in sources {
        write!(page, "</tr><tr><td>{}</td>", escape(source))?;
        for outcome in results.outcomes.iter().filter(|outcome| outcome.source == source) {
            let mean = |name| {
                let values = series(outcome, name);
                values.iter().sum::<f64>() / values.len().max(1) as f64
            };
            write!(page, "<td>{} / {}</td>", short(mean("psnr")), short(mean("ssim")))?;
        }
    }
    page.push_str("</tr></table></div>");
    Ok(())
}

/// Returns a measure over the frames.
fn series(outcome: &Outcome, name: &str) -> Vec<f64> {
    outcome.frames.iter().flatten().filter(|(n, _)| *n == name).map(|(_, v)| *v).collect()
}

/// Adds the curves of clips with several frames.
fn curves(page: &mut String, outcomes: &[Outcome]) -> Result<()> {
    let mut clips: Vec<&str> =
        outcomes.iter().filter(|o| o.frames.len() > 1).map(|o| o.source.as_str()).collect();
    clips.dedup();
    if clips.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Over frames</h2><div class='plots'>");
    for clip in clips {
        for (name, title) in
            [("psnr", "PSNR, dB"), ("ssim", "SSIM"), ("flicker", "flicker, 8-bit units")]
        {
            let own = outcomes.iter().filter(|outcome| outcome.source == clip);
            let all: Vec<_> =
                own.map(|outcome| (outcome.element.clone(), series(outcome, name))).collect();
            page.push_str(&lines(&format!("{clip}: {title}"), "frame", &all));
        }
    }
    page.push_str("</div>");
    Ok(())
}

fn jpeg(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(Cursor::new(&mut bytes), 82)
        .encode_image(image)?;
    Ok(bytes)
}
