//! The memory hierarchy: which levels there are, and how much each holds.

use std::path::Path;

/// A level of the memory hierarchy.
#[derive(Clone, Debug)]
pub struct Level {
    /// `L1`, `L2`, `L3` or `memory`.
    pub name: &'static str,
    /// Bytes that it holds: of one core where every core has its own, else of all.
    pub bytes: usize,
    /// Whose it is.
    pub sharing: Sharing,
    /// Bytes that each thread touches when its bandwidth is measured: about half of what the thread can have, and more than
    /// twice what the next nearer level holds.
    pub working_set: usize,
}

/// Whose a level is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Every core has one.
    Core,
    /// All cores have it together.
    All,
}

impl Level {
    /// Bytes that some threads, each on a core of its own, find room for in it.
    pub fn room(&self, threads: usize) -> usize {
        match self.sharing {
            Sharing::Core => self.bytes.saturating_mul(threads),
            Sharing::All => self.bytes,
        }
    }
}

/// Sizes where the system does not tell: small ones of present CPUs.
const FALLBACK: [usize; 3] = [32 << 10, 512 << 10, 8 << 20];

/// The largest working set of all threads together, so that machines with large caches need no gigabytes.
const MOST: usize = 512 << 20;

/// The levels, the nearest first; the last is main memory.
pub fn levels(threads: usize) -> Vec<Level> {
    let [l1, l2, l3] = [1, 2, 3].map(|number| cache(number).unwrap_or(FALLBACK[number - 1]));
    let private = |name, bytes: usize| Level {
        name,
        bytes,
        sharing: Sharing::Core,
        working_set: bytes / 2,
    };
    let shared = |name, bytes, working_set: usize| Level {
        name,
        bytes,
        sharing: Sharing::All,
        working_set: working_set.min(MOST) / threads,
    };
    vec![
        private("L1", l1),
        private("L2", l2),
        shared("L3", l3, l3 / 2),
        shared("memory", usize::MAX, l3.saturating_mul(8)),
    ]
}

/// Bytes of the data or unified cache of a level, as Linux tells of the first core.
fn cache(level: usize) -> Option<usize> {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let mut caches = std::fs::read_dir(folder).ok()?.flatten();
    caches.find_map(|cache| {
        let read = |name: &str| std::fs::read_to_string(cache.path().join(name)).ok();
        let is_data = read("type")?.trim() != "Instruction";
        let is_level = read("level")?.trim().parse() == Ok(level);
        (is_data && is_level).then_some(())?;
        size(read("size")?.trim())
    })
}

/// `32K` or `8M` in bytes.
fn size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => 1 << 30,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}
