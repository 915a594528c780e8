//! Finds the geometry of a received picture by the waves of the pilot.

use std::f64::consts::TAU;

use ndarray::Array2;
use rustfft::num_complex::Complex32;

use super::{
    geometry::{Geometry, wave_in},
    pattern::Wave,
    plane::{Fft2, HEIGHT, WIDTH, bin},
    residual::box_mean,
};

/// Enlargements that are looked for, and steps between them.
const SCALES: (f64, f64) = (0.45, 2.25);
const SCALE_STEP: f64 = 1.006;
/// Degrees to each side that are looked for.
const ANGLES: f64 = 16.0;
const ANGLE_STEP: f64 = 0.35;
/// Bins to each side that power is compared with.
const AROUND: usize = 12;
/// Power of a bin, in units of that around it, that counts at most.
const MOST: f32 = 8.0;
/// Geometries that are refined, and those of them whose shift is looked for.
const CANDIDATES: usize = 48;
const SHIFTED: usize = 5;
/// Standard deviations of chance by which waves must agree; the best of all shifts has about 5 by chance.
const AGREEMENT: f64 = 5.0;
/// Frequencies, in cycles per canonical pixel, in which waves are looked for.
const SEEN: (f64, f64) = (0.02, 0.42);
/// Waves that must stand out before a geometry is refined by them.
const ENOUGH: usize = 5;

/// Which geometries are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Whole pictures, of any size.
    Identity,
    /// Also cropped and enlarged or framed ones.
    Scale,
    /// Also turned ones.
    Full,
}

/// Power by frequency over that around it; row 0 is frequency 0.
struct Power {
    bins: Array2<f32>,
    /// The same, averaged over 3x3 bins.
    smooth: Array2<f32>,
    /// That around it.
    around: Array2<f32>,
}

impl Power {
    fn new(mut bins: Array2<f32>) -> Self {
        let (mut rows, mut around) = (Array2::zeros(bins.dim()), Array2::zeros(bins.dim()));
        box_mean(&bins, AROUND, &mut rows, &mut around);
        bins.zip_mut_with(&around, |v, mean| *v = (*v / mean.max(1e-9)).min(MOST));
        let mut smooth = Array2::zeros(bins.dim());
        box_mean(&bins, 1, &mut rows, &mut smooth);
        Self { bins, smooth, around }
    }
}

/// Looks for a pilot in the power of residuals.
pub(super) struct Synchroniser<'a> {
    waves: &'a [Wave],
    total: Array2<f32>,
    /// Of the sum of all residuals, in which steady waves add up.
    whole: Power,
    /// The sum of the residuals' own, for waves that change their signs.
    parts: Power,
}

impl<'a> Synchroniser<'a> {
    pub fn new(waves: &'a [Wave], residuals: &[&Array2<f32>], fft: &mut Fft2) -> Option<Self> {
        let mut total = Array2::zeros(residuals.first()?.dim());
        residuals.iter().for_each(|residual| total += *residual);
        let whole = power(&[&total], fft);
        let parts = power(residuals, fft);
        Some(Self { waves, total, whole, parts })
    }

    /// Geometries that the pilot may have, the likeliest first.
    pub fn geometries(&self, search: Search, fft: &mut Fft2) -> Vec<Geometry> {
        let mut scores = Vec::new();
        let angles = if search == Search::Full { (ANGLES / ANGLE_STEP) as i32 } else { 0 };
        let scales = ((SCALES.1 / SCALES.0).ln() / SCALE_STEP.ln()) as i32;
        for i in 0..=scales {
            let scale = SCALES.0 * SCALE_STEP.powi(i);
            for j in -angles..=angles {
                let angle = f64::from(j) * ANGLE_STEP;
                scores.push((self.score(&self.similarity(scale, angle)), scale, angle));
            }
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut best: Vec<(f64, f64)> = Vec::new();
        for (_, scale, angle) in scores {
            let near =
                |(s, a): &(f64, f64)| (s / scale).ln().abs() < 0.015 && (a - angle).abs() < 1.0;
            if !best.iter().any(near) {
                best.push((scale, angle));
            }
            if best.len() == CANDIDATES {
                break;
            }
        }
        let refined =
            best.into_iter().map(|(scale, angle)| self.refine(self.similarity(scale, angle)));
        let mut refined: Vec<_> =
            refined.map(|geometry| (self.height(&geometry), geometry)).collect();
        refined.sort_by(|a, b| b.0.total_cmp(&a.0));
        let shifted =
            refined.into_iter().take(SHIFTED).map(|(_, geometry)| self.shift(geometry, fft));
        let mut found: Vec<_> = shifted.filter(|(agreement, _)| *agreement >= AGREEMENT).collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().map(|(_, geometry)| geometry).collect()
    }

    fn similarity(&self, scale: f64, degrees: f64) -> Geometry {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (height, width) = self.total.dim();
        Geometry {
            matrix: [[cos / scale, sin / scale], [-sin / scale, cos / scale]],
            centre: [width as f64 / 2.0, height as f64 / 2.0],
            origin: [0.0; 2],
        }
    }

    fn power(&self, wave: &Wave) -> &Power {
        if wave.is_steady() { &self.whole } else { &self.parts }
    }

    /// Place of a wave in the power, if it lies where it can be seen.
    fn place(&self, wave: &Wave, geometry: &Geometry) -> Option<[f64; 2]> {
        let (x, y) = geometry.seen(wave.frequency());
        let radius = x.hypot(y);
        (SEEN.0..SEEN.1).contains(&radius).then_some([x * WIDTH as f64, y * HEIGHT as f64])
    }

    fn score(&self, geometry: &Geometry) -> f32 {
        let (mut sum, mut count) = (0.0, 0);
        for wave in self.waves {
            let Some(place) = self.place(wave, geometry) else { continue };
            sum += at(&self.power(wave).smooth, place[0].round() as i32, place[1].round() as i32)
                - 1.0;
            count += 1;
        }
        if count == 0 { 0.0 } else { sum / (count as f32).sqrt() }
    }

    /// How much the peaks stand out that a refined geometry leads to.
    fn height(&self, geometry: &Geometry) -> f32 {
        let places = self.waves.iter().filter_map(|wave| Some((wave, self.place(wave, geometry)?)));
        let heights = places.map(|(wave, place)| {
            at(&self.power(wave).bins, place[0].round() as i32, place[1].round() as i32) - 1.0
        });
        heights.sum()
    }

    /// Fits the matrix to where peaks really are, least squares weighted by their height.
    fn refine(&self, mut geometry: Geometry) -> Geometry {
        for reach in [2, 2, 1] {
            let mut moments = [[0.0; 2]; 2];
            let mut cross = [[0.0; 2]; 2];
            let mut count = 0;
            for wave in self.waves {
                let Some(place) = self.place(wave, &geometry) else { continue };
                let Some((peak, height)) = peak(&self.power(wave).bins, place, reach) else {
                    continue;
                };
                let f = wave.frequency();
                let f = [f64::from(f.0), f64::from(f.1)];
                let seen = [peak[0] / WIDTH as f64, peak[1] / HEIGHT as f64];
                for i in 0..2 {
                    for k in 0..2 {
                        moments[i][k] += height * f[i] * f[k];
                        cross[i][k] += height * f[i] * seen[k];
                    }
                }
                count += 1;
            }
            let determinant = moments[0][0] * moments[1][1] - moments[0][1] * moments[1][0];
            if count < ENOUGH || determinant.abs() < 1e-12 {
                break;
            }
            // seen = matrix^T f, so matrix = moments^-1 cross.
            let [[a, b], [c, d]] = moments;
            let inverse = [[d, -b], [-c, a]].map(|row| row.map(|v| v / determinant));
            geometry.matrix = std::array::from_fn(|i| {
                std::array::from_fn(|k| inverse[i][0] * cross[0][k] + inverse[i][1] * cross[1][k])
            });
        }
        geometry
    }

    /// Finds the shift of a geometry by the phases of the steady waves. Also returns how far these agree, in standard
    /// deviations of chance.
    fn shift(&self, mut geometry: Geometry, fft: &mut Fft2) -> (f64, Geometry) {
        let steady = self.waves.iter().filter(|wave| wave.is_steady());
        let seen: Vec<_> = steady
            .filter_map(|wave| Some((wave, self.place(wave, &geometry)?)))
            .map(|(wave, place)| {
                let seen = wave_in(&self.total, geometry.seen(wave.frequency()), geometry.centre);
                // Power is that of both of a wave's frequencies.
                let chance =
                    0.5 * at(&self.whole.around, place[0].round() as i32, place[1].round() as i32);
                (wave, seen * Complex32::from_polar(1.0 / chance.max(1e-9).sqrt(), -wave.phase))
            })
            .collect();
        let mut plane = vec![Complex32::default(); WIDTH * HEIGHT];
        for (wave, value) in &seen {
            let (x, y) = wave.cycles;
            plane[y.rem_euclid(HEIGHT as i32) as usize * WIDTH
                + x.rem_euclid(WIDTH as i32) as usize] += value;
        }
        // What waves, each turned by a shift, add up to, for all whole shifts.
        fft.forward(&mut plane);
        let Some(best) = (0..plane.len()).max_by(|a, b| plane[*a].re.total_cmp(&plane[*b].re))
        else {
            return (0.0, geometry);
        };
        let sum = |shift: [f64; 2]| -> f64 {
            let turned = seen.iter().map(|(wave, value)| {
                let (fx, fy) = wave.frequency();
                let turn = -TAU * (f64::from(fx) * shift[0] + f64::from(fy) * shift[1]);
                f64::from((value * Complex32::from_polar(1.0, turn as f32)).re)
            });
            turned.sum()
        };
        let mut shift = [(best / HEIGHT) as f64, (best % HEIGHT) as f64];
        let mut step = 0.5;
        while step > 0.01 {
            let now = sum(shift);
            let near = [[step, 0.0], [-step, 0.0], [0.0, step], [0.0, -step]];
            match near
                .map(|d| [shift[0] + d[0], shift[1] + d[1]])
                .into_iter()
                .find(|s| sum(*s) > now)
            {
                Some(better) => shift = better,
                None => step *= 0.5,
            }
        }
        geometry.origin = shift;
        (sum(shift) / (0.5 * seen.len() as f64).sqrt().max(1.0), geometry)
    }
}

/// The highest bin near a place, to a fraction of a bin, and how much it stands out.
fn peak(power: &Array2<f32>, place: [f64; 2], reach: i32) -> Option<([f64; 2], f64)> {
    let (x0, y0) = (place[0].round() as i32, place[1].round() as i32);
    let near = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (x0 + dx, y0 + dy)));
    let (x, y) = near.max_by(|a, b| at(power, a.0, a.1).total_cmp(&at(power, b.0, b.1)))?;
    let height = at(power, x, y);
    if height < 2.5 {
        return None;
    }
    // The vertex of a parabola through three bins.
    let vertex = |before: f32, after: f32| {
        let curve = before - 2.0 * height + after;
        if curve < -1e-6 {
            f64::from((0.5 * (before - after) / curve).clamp(-0.5, 0.5))
        } else {
            0.0
        }
    };
    let dx = vertex(at(power, x - 1, y), at(power, x + 1, y));
    let dy = vertex(at(power, x, y - 1), at(power, x, y + 1));
    Some(([f64::from(x) + dx, f64::from(y) + dy], f64::from(height) - 1.0))
}

/// Sum of the power of planes.
fn power(planes: &[&Array2<f32>], fft: &mut Fft2) -> Power {
    let mut power = Array2::<f32>::zeros((HEIGHT, WIDTH));
    let mut both = vec![Complex32::default(); WIDTH * HEIGHT];
    // Two real planes make a complex one; the power of both together is even.
    for pair in planes.chunks(2) {
        both.fill(Complex32::default());
        for (i, plane) in pair.iter().enumerate() {
            for (row, to) in plane.rows().into_iter().zip(both.chunks_exact_mut(WIDTH)) {
                to.iter_mut()
                    .zip(row)
                    .for_each(|(to, v)| if i == 0 { to.re = *v } else { to.im = *v });
            }
        }
        fft.forward(&mut both);
        for ((y, x), to) in power.indexed_iter_mut() {
            *to += both[x * HEIGHT + y].norm_sqr() + both[bin(-(x as i32), -(y as i32))].norm_sqr();
        }
    }
    Power::new(power)
}

fn at(plane: &Array2<f32>, x: i32, y: i32) -> f32 {
    plane[[y.rem_euclid(HEIGHT as i32) as usize, x.rem_euclid(WIDTH as i32) as usize]]
}
