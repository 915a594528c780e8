//! Estimates the level of noise in a picture.
//!
//! After X. Liu, M. Tanaka and M. Okutomi, "Single-Image Noise Level Estimation for Blind Denoising", IEEE Transactions
//! on Image Processing 22(12), 2013: patches whose gradients are no stronger than noise of the estimated level makes
//! them have no texture; the smallest eigenvalues of their covariance are the variance of the noise; and so on in turns.
//! Where the paper takes the smallest eigenvalue of all, this takes the mean of the lowest quarter, free of the bias that
//! a covariance from few samples has (the lower edge of the Marchenko-Pastur law).

use nalgebra::DMatrix;
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use crate::{frame::Sample, simd::vectorise};

/// Side of a patch.
const SIDE: usize = 6;
const DIM: usize = SIDE * SIDE;
/// Patches to look at, and how many of those without texture to use.
const PATCHES: usize = 8000;
const USED: usize = 2500;
/// Fewer patches than this tell nothing.
const MIN_PATCHES: usize = 4 * DIM;
/// Highest sum of the squares of the 60 differences between neighbours in a patch of unit noise: its 98th percentile.
/// (Mean 120, variance 1072; taken as a gamma distribution.)
const ENERGY: f32 = 200.0;
const ROUNDS: usize = 6;

/// Brightness classes in which noise is looked for, and the least distance between them to tell a trend.
const CLASSES: usize = 4;
const MIN_SPREAD: f32 = 20.0;
/// Furthest that the level at some brightness lies from the overall one, as factors: a class that is all texture must not
/// pass for one that is all noise.
const RANGE: [f32; 2] = [0.6, 1.5];

/// Noise of a component by brightness: its variance is `constant + slope * brightness`, as that of a sensor's read and
/// shot noise is (Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data",
/// IEEE Transactions on Image Processing 17(10), 2008). In 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NoiseModel {
    /// Overall standard deviation.
    pub level: f32,
    constant: f32,
    slope: f32,
}

impl NoiseModel {
    /// Noise that is the same at every brightness.
    pub fn uniform(level: f32) -> Self {
        Self { level, constant: level * level, slope: 0.0 }
    }

    /// Standard deviation at a brightness from 0 to 255.
    #[inline(always)]
    pub fn level_at(&self, brightness: f32) -> f32 {
        let variance = (self.constant + self.slope * brightness).max(0.0);
        variance.sqrt().clamp(RANGE[0] * self.level, RANGE[1] * self.level)
    }

    /// The same by brightness, but of this overall level at least.
    pub(crate) fn at_least(self, level: f32) -> Self {
        if self.level >= level {
            return self;
        }
        if self.level <= 0.0 {
            return Self::uniform(level);
        }
        let factor = (level / self.level).powi(2);
        Self { level, constant: factor * self.constant, slope: factor * self.slope }
    }

    /// Moves towards another model by a share of the way.
    pub fn follow(&mut self, other: &Self, share: f32) {
        self.level += share * (other.level - self.level);
        self.constant += share * (other.constant - self.constant);
        self.slope += share * (other.slope - self.slope);
    }

    /// The mean of some models.
    pub fn mean(models: impl IntoIterator<Item = Self>) -> Self {
        let mut mean = Self::default();
        for (i, model) in models.into_iter().enumerate() {
            mean.follow(&model, 1.0 / (i + 1) as f32);
        }
        mean
    }
}

/// Standard deviation of the noise of a component in 8-bit units, or `None` where the picture is too small to tell.
///
/// White Gaussian noise on photographs is found within 10% or 1.5 levels from 3 to 50; grain that a photograph had
/// before counts as noise. Patches that black or white may have clipped are left out where enough others remain.
pub fn noise_level<T: Sample>(component: ArrayView2<'_, T>) -> Option<f32> {
    Some(overall(&sample(component).iter().collect::<Vec<_>>())?.level)
}

/// Noise of a component by brightness, or `None` where the picture is too small to tell.
pub fn noise_model<T: Sample>(component: ArrayView2<'_, T>) -> Option<NoiseModel> {
    let patches = sample(component);
    let mut patches: Vec<&Patch> = patches.iter().collect();
    let Class { level, .. } = overall(&patches)?;
    patches.sort_by(|a, b| a.mean.total_cmp(&b.mean));
    let size = patches.len().div_ceil(CLASSES);
    let classes: Vec<Class> = patches.par_chunks(size).filter_map(|class| settle(class, level)).collect();
    Some(fit(&classes, level))
}

/// Noise of some patches.
struct Class {
    level: f32,
    /// Patches that it was found in, and their mean brightness.
    count: f32,
    brightness: f32,
}

/// Weighted least squares of variance over brightness.
fn fit(classes: &[Class], level: f32) -> NoiseModel {
    let weight: f32 = classes.iter().map(|c| c.count).sum();
    let mean = |value: fn(&Class) -> f32| classes.iter().map(|c| c.count * value(c)).sum::<f32>() / weight;
    let brightness = mean(|c| c.brightness);
    let variance = mean(|c| c.level * c.level);
    let spread = mean(|c| c.brightness * c.brightness) - brightness * brightness;
    if classes.len() < 2 || spread < MIN_SPREAD * MIN_SPREAD {
        return NoiseModel::uniform(level);
    }
    let slope = (mean(|c| c.level * c.level * c.brightness) - variance * brightness) / spread;
    NoiseModel { level, constant: variance - slope * brightness, slope }
}

fn overall(patches: &[&Patch]) -> Option<Class> {
    settle(patches, level_of(patches.iter().copied())?).or_else(|| {
        // Too few patches without texture: what all of them say is an upper bound, and the best there is.
        Some(Class { level: level_of(patches.iter().copied())?, count: patches.len() as f32, brightness: 0.0 })
    })
}

/// Takes turns at choosing patches without texture and finding the level of their noise.
fn settle(patches: &[&Patch], start: f32) -> Option<Class> {
    let mut found = None;
    let mut level = start;
    for _ in 0..ROUNDS {
        let margin = 2.0 * level;
        let usable = |p: &&Patch| p.energy <= ENERGY * level * level && p.mean > margin && p.mean < 255.0 - margin;
        let Some(better) = level_of(patches.iter().copied().filter(usable)) else { break };
        let (count, sum) =
            patches.iter().copied().filter(usable).fold((0.0, 0.0), |(n, sum), p| (n + 1.0, sum + p.mean));
        let settled = (better - level).abs() < 0.02 * level;
        level = better;
        found = Some(Class { level, count, brightness: sum / count });
        if settled {
            break;
        }
    }
    found
}

struct Patch {
    /// Values less their mean.
    centred: [f32; DIM],
    mean: f32,
    /// Sum of the squares of the differences between neighbours.
    energy: f32,
}

/// Fewer places than this are not worth another thread.
const MIN_PLACES: usize = 64;

/// Places spread over an area, which no regular texture follows (Roberts' R2 sequence).
fn spread(count: usize, [rows, columns]: [usize; 2]) -> impl IndexedParallelIterator<Item = [usize; 2]> {
    (0..count).into_par_iter().with_min_len(MIN_PLACES).map(move |i| {
        let fraction = |step: f64| (0.5 + step * i as f64).fract();
        let x = (fraction(0.754_877_666_246_692_8) * columns as f64) as usize;
        let y = (fraction(0.569_840_290_998_053_3) * rows as f64) as usize;
        [y, x]
    })
}

/// Patches spread over the picture.
fn sample<T: Sample>(component: ArrayView2<'_, T>) -> Vec<Patch> {
    let (height, width) = component.dim();
    if width < SIDE || height < SIDE {
        return Vec::new();
    }
    let (rows, columns) = (height - SIDE + 1, width - SIDE + 1);
    let count = PATCHES.min(rows * columns);
    let patch = |[y, x]: [usize; 2]| {
        let mut values = [0.0; DIM];
        let rows = component.slice(s![y..y + SIDE, x..x + SIDE]);
        for (values, row) in values.chunks_exact_mut(SIDE).zip(rows.rows()) {
            values.iter_mut().zip(row).for_each(|(value, sample)| *value = sample.level());
        }
        let mean = values.iter().sum::<f32>() / DIM as f32;
        values.iter_mut().for_each(|value| *value -= mean);
        Patch { energy: gradient_energy(&values), centred: values, mean }
    };
    spread(count, [rows, columns]).map(patch).collect()
}

/// Sum of the squares of all differences between horizontal and vertical neighbours.
fn gradient_energy(values: &[f32; DIM]) -> f32 {
    let across = values.chunks_exact(SIDE).flat_map(|row| row.windows(2).map(|pair| pair[0] - pair[1]));
    let down = values.iter().zip(&values[SIDE..]).map(|(a, b)| a - b);
    across.chain(down).map(|difference| difference * difference).sum()
}

/// Side of the blocks whose whole variance is looked at, and how many there are.
const BLOCK: usize = 16;
const BLOCKS: usize = 400;
/// The share of these that stays below what is taken for flat.
const FLAT: f64 = 0.1;

/// Standard deviation, from a slope, in the blocks that deviate least: noise of any colour is no stronger than this. `None` where the picture
/// is too small to tell.
pub(crate) fn flat_level<T: Sample>(component: ArrayView2<'_, T>) -> Option<f32> {
    let (height, width) = component.dim();
    let (rows, columns) = (height.checked_sub(BLOCK)? + 1, width.checked_sub(BLOCK)? + 1);
    let mut variances: Vec<f32> = spread(BLOCKS.min(rows * columns), [rows, columns])
        .filter_map(|[y, x]| {
            let block = component.slice(s![y..y + BLOCK, x..x + BLOCK]);
            let sums = vectorise(
                #[inline(always)]
                || moments(block),
            );
            let area = (BLOCK * BLOCK) as f32;
            let mean = sums[0] / area;
            // The mean square of a coordinate, by which slopes are divided.
            let span = ((BLOCK * BLOCK - 1) as f32) / 12.0;
            let slopes = (sums[2] * sums[2] + sums[3] * sums[3]) / (area * area * span);
            let variance = (sums[1] / area - mean * mean - slopes).max(0.0);
            let margin = 2.0 * variance.sqrt();
            (mean > margin && mean < 255.0 - margin).then_some(variance)
        })
        .collect();
    if variances.len() < BLOCKS / 20 {
        return None;
    }
    let at = (variances.len() as f64 * FLAT) as usize;
    Some(variances.select_nth_unstable_by(at, f32::total_cmp).1.sqrt())
}

/// Sums over a block of its values, their squares, and themselves times the coordinates from its centre.
#[inline(always)]
fn moments<T: Sample>(block: ArrayView2<'_, T>) -> [f32; 4] {
    let from_centre = |at: usize| at as f32 - 0.5 * (BLOCK - 1) as f32;
    let [mut values, mut squares, mut down] = [[0.0f32; BLOCK]; 3];
    for (y, row) in block.rows().into_iter().enumerate() {
        let mut line = [0.0; BLOCK];
        line.iter_mut().zip(row).for_each(|(to, sample)| *to = sample.level());
        for x in 0..BLOCK {
            values[x] += line[x];
            squares[x] += line[x] * line[x];
            down[x] += from_centre(y) * line[x];
        }
    }
    let across = values.iter().enumerate().map(|(x, value)| from_centre(x) * value).sum();
    [values.iter().sum(), squares.iter().sum(), across, down.iter().sum()]
}

fn level_of<'a>(patches: impl Iterator<Item = &'a Patch> + Clone) -> Option<f32> {
    let count = patches.clone().count();
    if count < MIN_PATCHES {
        return None;
    }
    let step = count.div_ceil(USED);
    let values: Vec<f32> = patches.step_by(step).flat_map(|patch| patch.centred).collect();
    let count = values.len() / DIM;
    let values = ArrayView2::from_shape((count, DIM), &values).ok()?;
    let covariance = values.t().dot(&values);
    let matrix = DMatrix::from_fn(DIM, DIM, |i, j| f64::from(covariance[[i, j]]) / count as f64);
    let mut eigenvalues: Vec<f64> = matrix.symmetric_eigenvalues().iter().map(|v| v.max(0.0)).collect();
    eigenvalues.sort_by(f64::total_cmp);
    // Without their mean, patches have nothing along one direction.
    let lowest = &eigenvalues[1..DIM / 4];
    let bias = 1.0 - (DIM as f64 / count as f64).sqrt();
    Some((lowest.iter().sum::<f64>() / lowest.len() as f64 / bias).sqrt() as f32)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn known_noise_on_a_ramp_is_found() {
        let mut rng = StdRng::seed_from_u64(1);
        for level in [1.0, 5.0, 20.0] {
            let picture = Array2::from_shape_fn((120, 160), |(y, x)| {
                // The sum of twelve uniform values is close to normal.
                let noise: f32 = (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
                100.0 + 0.3 * x as f32 + 0.1 * y as f32 + level * noise
            });
            let found = noise_level(picture.view()).unwrap();
            assert!((found - level).abs() < 0.1 * level, "{level}: {found}");
        }
    }

    #[test]
    fn noise_that_grows_with_the_light_is_found() {
        let mut rng = StdRng::seed_from_u64(2);
        let level = |brightness: f32| (20.0 + 1.2 * brightness).sqrt();
        let picture = Array2::from_shape_fn((240, 320), |(_, x)| {
            let noise: f32 = (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
            let brightness = 40.0 + 0.5 * x as f32;
            brightness + level(brightness) * noise
        });
        let model = noise_model(picture.view()).unwrap();
        for brightness in [60.0, 120.0, 180.0] {
            let (found, truth) = (model.level_at(brightness), level(brightness));
            assert!((found - truth).abs() < 0.1 * truth, "{brightness}: {found} for {truth}");
        }
    }

    #[test]
    fn flat_blocks_hold_noise_of_any_colour() {
        let mut rng = StdRng::seed_from_u64(3);
        let white = Array2::from_shape_fn((242, 322), |_| 24.0 * rng.random_range(-0.5..0.5f32));
        let soft = Array2::from_shape_fn((240, 320), |(y, x)| {
            let mean = white.slice(s![y..y + 3, x..x + 3]).mean().unwrap();
            // Half of the picture is texture.
            let texture = if x < 160 { 40.0 * (x as f32 * 0.7).sin() } else { 0.0 };
            90.0 + 0.2 * y as f32 + 3.0 * mean + texture
        });
        let truth = 24.0 / 12f32.sqrt();
        let (found, white) = (flat_level(soft.view()).unwrap(), noise_level(soft.view()).unwrap());
        assert!((0.8..1.05).contains(&(found / truth)) && white < 0.6 * truth, "{found} {white} {truth}");
        assert_eq!(flat_level(Array2::<u8>::zeros((10, 100)).view()), None);
    }

    #[test]
    fn little_or_nothing_to_see_is_no_trouble() {
        assert_eq!(noise_level(Array2::<u8>::zeros((4, 100)).view()), None);
        assert_eq!(noise_level(Array2::<u8>::zeros((10, 10)).view()), None);
        assert_eq!(noise_level(Array2::from_elem((100, 100), 255u8).view()), Some(0.0));
    }
}
