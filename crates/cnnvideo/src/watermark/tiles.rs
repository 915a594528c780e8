// SPDX-License-Identifier: MIT OR Apache-2.0

//! Carriers of version 2: each tile of the canonical plane carries a few coded bits.
//!
//! A tile has one sign for all its chips, which the description of the picture and the hop
//! determine (see `describe.rs` and `hops.rs`). The correlation of a tile with its bits can
//! therefore be computed once for all signs.

use super::{
    convolutional_code::CODED_BITS,
    key::{Key, KeyedRng},
    plane::{PLANE_HEIGHT, PLANE_WIDTH},
};

/// Side of a tile in canonical pixels.
pub(super) const TILE: usize = 16;
/// Number of tiles in a row of the plane.
pub(super) const TILE_COLUMNS: usize = PLANE_WIDTH / TILE;
/// Number of rows of tiles of the plane.
pub(super) const TILE_ROWS: usize = PLANE_HEIGHT / TILE;
/// Number of tiles of the plane.
pub(super) const TILES: usize = TILE_COLUMNS * TILE_ROWS;
/// Number of coded bits that a tile carries. Few, so that the payload of a copied mark falls apart:
/// the tiles of the bits have unrelated signs in another picture.
pub(super) const TILE_BITS: usize = 16;
/// Rows of tiles over which the bits are dealt out before the next column, so that any part of the
/// plane with as many tiles as a deal carries each bit about equally often.
const BAND_ROWS: usize = 4;
/// Bit of a chip's byte that holds its sign; the bits below hold the index of its coded bit.
const SIGN: u8 = 0x80;

/// Carriers that a pattern consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// Carriers of tiles that the description of the picture gives a sign.
    Described,
    /// Carriers of tiles without a description.
    Flat,
}

/// Assignment of coded bits and signs to the chips of one hop label; a chip is one sample of the
/// canonical plane.
pub(super) struct TileCarriers {
    /// Coded bits of each tile, by rows.
    bits: Vec<[u16; TILE_BITS]>,
    /// Index of the bit and sign of each chip, by rows.
    chips: Vec<u8>,
}

impl TileCarriers {
    /// Creates the carriers of a key and key epoch.
    pub(super) fn new(key: &Key, epoch: u32, label: usize, layer: Layer) -> Self {
        let numbers = [epoch, label as u32, layer as u32];
        let mut chips = vec![0; PLANE_WIDTH * PLANE_HEIGHT];
        key.rng("tile chips", &numbers).fill(&mut chips);
        Self { bits: deal(&mut key.rng("tile bits", &numbers)), chips }
    }

    /// Returns the chips with the values of their coded bits.
    pub(super) fn spread<'a>(
        &'a self,
        coded: &'a [f32; CODED_BITS],
    ) -> impl Iterator<Item = f32> + 'a {
        self.chips.iter().enumerate().map(|(i, chip)| {
            let bits = &self.bits[tile_at(i % PLANE_WIDTH, i / PLANE_WIDTH)];
            let value = coded[usize::from(bits[usize::from(*chip) % TILE_BITS])];
            if chip & SIGN == 0 { value } else { -value }
        })
    }

    /// Returns the correlation of a filtered plane with the chips of each bit of each tile of the
    /// plane.
    pub(super) fn correlate(&self, plane: &[f32]) -> Vec<[f32; TILE_BITS]> {
        let mut all = vec![[0.0; TILE_BITS]; TILES];
        let rows = plane.chunks_exact(PLANE_WIDTH).zip(self.chips.chunks_exact(PLANE_WIDTH));
        for (y, (row, chips)) in rows.enumerate() {
            let tiles = &mut all[y / TILE * TILE_COLUMNS..][..TILE_COLUMNS];
            let parts = row.chunks_exact(TILE).zip(chips.chunks_exact(TILE));
            for (to, (values, chips)) in tiles.iter_mut().zip(parts) {
                for (value, chip) in values.iter().zip(chips) {
                    // No branch: the signs are random.
                    let sign = u32::from(chip & SIGN) << 24;
                    to[usize::from(*chip) % TILE_BITS] += f32::from_bits(value.to_bits() ^ sign);
                }
            }
        }
        all
    }

    /// Returns the coded bits of a tile.
    #[inline(always)]
    pub(super) fn bits_of(&self, tile: usize) -> &[u16; TILE_BITS] {
        &self.bits[tile]
    }
}

/// Returns the index of the tile at a sample of the plane.
pub(super) fn tile_at(x: usize, y: usize) -> usize {
    y / TILE * TILE_COLUMNS + x / TILE
}

/// Deals the coded bits out to the tiles: one shuffled deck of all bits after the other.
fn deal(rng: &mut KeyedRng) -> Vec<[u16; TILE_BITS]> {
    let mut deck: Vec<u16> = (0..CODED_BITS as u16).collect();
    let mut dealt = vec![[0; TILE_BITS]; TILES];
    let tiles = (0..TILES).map(|i| {
        let (band, within) = (i / (BAND_ROWS * TILE_COLUMNS), i % (BAND_ROWS * TILE_COLUMNS));
        (band * BAND_ROWS + within % BAND_ROWS) * TILE_COLUMNS + within / BAND_ROWS
    });
    let hands = CODED_BITS / TILE_BITS;
    for (i, tile) in tiles.enumerate() {
        if i % hands == 0 {
            for k in (1..deck.len()).rev() {
                deck.swap(k, (rng.uniform() * (k + 1) as f64) as usize);
            }
        }
        dealt[tile].copy_from_slice(&deck[i % hands * TILE_BITS..][..TILE_BITS]);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_plane_carries_all_bits() {
        let carriers = TileCarriers::new(&Key::new([5; 32]), 3, 1, Layer::Described);
        // The tiles that a whole picture covers.
        let mut counts = [0; CODED_BITS];
        for row in 0..22 {
            for column in 0..40 {
                let mut bits = *carriers.bits_of(row * TILE_COLUMNS + column);
                bits.iter().for_each(|bit| counts[usize::from(*bit)] += 1);
                bits.sort_unstable();
                assert!(bits.windows(2).all(|pair| pair[0] < pair[1]), "a bit twice in a tile");
            }
        }
        assert!(counts.iter().all(|count| (26..=48).contains(count)), "{counts:?}");
    }

    #[test]
    fn correlation_undoes_spreading() {
        let carriers = TileCarriers::new(&Key::new([5; 32]), 0, 0, Layer::Flat);
        let coded = std::array::from_fn(|i| if i % 3 == 0 { 1.0 } else { -1.0 });
        let plane: Vec<_> = carriers.spread(&coded).collect();
        for (tile, correlations) in carriers.correlate(&plane).iter().enumerate() {
            let total: f32 = correlations
                .iter()
                .zip(carriers.bits_of(tile))
                .map(|(v, bit)| v * coded[usize::from(*bit)])
                .sum();
            assert_eq!(total, (TILE * TILE) as f32);
        }
    }
}
