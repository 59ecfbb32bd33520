//! Where results of convolutions go: to memory, or some lines at a time to a pooling, and what that gives to memory.

use super::gcd;
use super::places::{Cut, Places, SMALL};
use crate::cpu::gemm::{At, Block, Blocks, Convolve};
use crate::cx::Env;
use crate::ops::pool::{self, Pool2d};

/// Numbers of the lines that are pooled at once, and of a line of what that gives: at most so many on the stack.
pub const LINES: usize = 1 << 15;
/// Channels for which there must be room in a window's lines: no block of columns is wider on any instruction path.
pub const COLUMNS: usize = 48;
/// The same numbers where one line of windows does not take more: they stay in the first-level cache.
const NEAR: usize = 1 << 13;
/// Those of small images, for which more would take long to clear.
const FEW: usize = 1 << 10;

/// The memory of all results.
pub(super) struct Results<'y, T> {
    /// Theirs, or that of what is pooled.
    pub memory: &'y mut [T],
    /// What happens to results before they are stored: windows that share out the image.
    pub pooling: Option<Pool2d>,
}

impl<'y, T: Convolve> Results<'y, T> {
    /// Results that are stored as they are.
    pub fn stored(memory: &'y mut [T]) -> Self {
        Self {
            memory,
            pooling: None,
        }
    }

    /// Calls `body` for blocks that together are all results: whole lines of places, and of channels `cut.channels` or, where they
    /// are pooled, a multiple of `columns`. `unit` lines of results are best computed together.
    ///
    /// # Panics
    /// Where lines do not fit into the room for pooling: a mistake of the compiler.
    pub fn compute(
        self,
        places: &Places<'_>,
        env: Env<'_>,
        ((cut, matrix), [columns, unit]): ((Cut, usize), [usize; 2]),
        body: impl Fn(At, &mut Block<'_, T>) + Sync,
    ) {
        let team = (places.work >= SMALL).then_some(env.team);
        let channels = places.groups * places.rows;
        let Some(pool) = self.pooling else {
            let size = [places.batch * places.area(), channels];
            let block = [cut.images * cut.places, cut.channels];
            let blocks = Blocks::new(self.memory, size, matrix * places.area(), block);
            return blocks.run(team, |at, mut block| body(at, &mut block));
        };
        let unit = unit / gcd(unit, pool.kernel[0].max(1));
        let pooling = Pooling::new(pool, env, [columns, unit]);
        let [lines, line] = pool.out;
        let parts = places.tasks().div_ceil(places.batch);
        // Where there are fewer lines than tasks would be worth it, channels are shared out as well.
        let across = channels.div_ceil(parts.div_ceil(lines.max(1)));
        let columns = pooling.columns.min(across.next_multiple_of(columns));
        let block = [
            lines.div_ceil(parts).next_multiple_of(unit).min(lines) * line,
            columns,
        ];
        let blocks = Blocks::new(
            self.memory,
            [places.batch * lines * line, channels],
            lines * line,
            block,
        );
        blocks.run(team, |at, mut block| pooling.block(at, &mut block, &body));
    }
}

/// A pooling of some lines at a time.
struct Pooling<'e> {
    pool: Pool2d,
    env: Env<'e>,
    /// Channels of a task.
    columns: usize,
    /// Lines of windows that are pooled together.
    lines: usize,
}

impl<'e> Pooling<'e> {
    fn new(pool: Pool2d, env: Env<'e>, [columns, unit]: [usize; 2]) -> Self {
        // A line of windows, and what it gives.
        let numbers = (pool.kernel[0] + 1) * pool.size[1];
        let most = |lines: usize| LINES / (lines * numbers).max(1) / columns * columns;
        let unit = if most(unit) > 0 { unit } else { 1 };
        let most = most(unit);
        assert!(
            most > 0,
            "there is no room to pool lines of {} places",
            pool.size[1]
        );
        let columns = pool.channels.min(most);
        let lines = (NEAR / (numbers * columns).max(1)).max(1).next_multiple_of(unit);
        let lines = lines.min(pool.out[0].max(1));
        Self {
            pool,
            env,
            columns,
            lines,
        }
    }

    /// Computes a block of what is pooled.
    fn block<T: Convolve>(
        &self,
        at: At,
        block: &mut Block<'_, T>,
        body: &(impl Fn(At, &mut Block<'_, T>) + Sync),
    ) {
        let numbers = self.lines * (self.pool.kernel[0] + 1) * self.pool.size[1] * self.columns;
        match numbers {
            n if n <= FEW => self.bands(&mut [T::ZERO; FEW], at, block, body),
            n if n <= NEAR => self.bands(&mut [T::ZERO; NEAR], at, block, body),
            _ => self.bands(&mut [T::ZERO; LINES], at, block, body),
        }
    }

    fn bands<T: Convolve>(
        &self,
        room: &mut [T],
        at: At,
        block: &mut Block<'_, T>,
        body: &(impl Fn(At, &mut Block<'_, T>) + Sync),
    ) {
        let (kernel, [_, line]) = (self.pool.kernel, self.pool.out);
        let (width, channels) = (self.pool.size[1], block.cols());
        let first = at.row / line;
        let end = first + block.rows() / line;
        for from in (first..end).step_by(self.lines) {
            let lines = self.lines.min(end - from);
            let rows = lines * kernel[0] * width;
            let (band, pooled) = room.split_at_mut(rows * channels);
            let place = At {
                row: from * kernel[0] * width,
                ..at
            };
            body(place, &mut Block::whole(band, rows, channels));
            let pool = Pool2d {
                batch: 1,
                channels,
                size: [lines * kernel[0], width],
                out: [lines, line],
                ..self.pool
            };
            for v in 0..lines {
                let pooled = &mut pooled[..line * channels];
                pool::forward_lines(self.env.isa, &pool, band, pooled, v);
                for (u, pixel) in pooled.chunks_exact(channels).enumerate() {
                    block
                        .row_mut((from - first + v) * line + u)
                        .copy_from_slice(pixel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
