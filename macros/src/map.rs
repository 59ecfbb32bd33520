//! Maps and sets in the order of their keys, as sorted vectors, and the sorting of short lists.
//!
//! The compiler's maps are small, are mostly filled in order and are walked more often than they are searched. Macros are compiled
//! without optimisation, in which a B-tree is thousands of lines of code for each type of key and value, and slow; this is some
//! fifty. Keys that come in order are appended; others move what follows them.

use std::borrow::Borrow;
use std::iter::Map as Mapped;
use std::ops::Index;
use std::{slice, vec};

/// A map from `K` to `V`, sorted by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map<K, V> {
    entries: Vec<(K, V)>,
}

/// A set of keys, sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Set<K> {
    keys: Vec<K>,
}

/// The place of a key: where it is, or where it would be.
fn place<T, Q: Ord + ?Sized>(items: &[T], key: &Q, of: fn(&T) -> &Q) -> Result<usize, usize> {
    // The usual case when a map is filled: behind the last.
    if items.last().is_none_or(|last| of(last) < key) {
        return Err(items.len());
    }
    let (mut low, mut high) = (0, items.len());
    while low < high {
        let middle = (low + high) / 2;
        match of(&items[middle]).cmp(key) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Equal => return Ok(middle),
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

/// Sorts a short list by a key; what has equal keys stays in order. An insertion sort is a hundredth of the code that the standard
/// library's sort is for each type.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && key(&items[at - 1]) > key(&items[at]) {
            items.swap(at - 1, at);
            at -= 1;
        }
    }
}

impl<K: Ord, V> Map<K, V> {
    /// A map without entries.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        place(&self.entries, key, |(key, _)| key.borrow())
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|k| &self.entries[k].1)
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|k| &mut self.entries[k].1)
    }

    /// Whether the key has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Gives a key its value, and the value back that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(k) => Some(std::mem::replace(&mut self.entries[k].1, value)),
            Err(k) => {
                self.entries.insert(k, (key, value));
                None
            }
        }
    }

    /// Takes a key out, and gives its value back.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|k| self.entries.remove(k).1)
    }

    /// The value of a key, which is made where there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let k = match self.place(&key) {
            Ok(k) => k,
            Err(k) => {
                self.entries.insert(k, (key, make()));
                k
            }
        };
        &mut self.entries[k].1
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.into_iter()
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.entries.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The values in the order of their keys, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// The values in the order of their keys.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        self.entries.into_iter().map(|(_, value)| value)
    }
}

/// What iterates over a [`Map`].
pub type Iter<'a, K, V> = Mapped<slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter().map(|(key, value)| (key, value))
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: Ord, V> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Map<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Borrow<Q>, Q: Ord + ?Sized, V> Index<&Q> for Map<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is in the map")
    }
}

impl<K: Ord> Set<K> {
    /// A set without keys.
    pub const fn new() -> Self {
        Self { keys: Vec::new() }
    }

    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        place(&self.keys, key, |key| key.borrow())
    }

    /// Whether the key is in the set.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Puts a key in, and says whether it was new.
    pub fn insert(&mut self, key: K) -> bool {
        let place = self.place(&key);
        if let Err(k) = place {
            self.keys.insert(k, key);
        }
        place.is_err()
    }

    /// Takes a key out, and says whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let place = self.place(key);
        if let Ok(k) = place {
            self.keys.remove(k);
        }
        place.is_ok()
    }

    /// Takes the smallest key out.
    pub fn pop_first(&mut self) -> Option<K> {
        if self.keys.is_empty() {
            None
        } else {
            Some(self.keys.remove(0))
        }
    }

    /// The smallest key.
    pub fn first(&self) -> Option<&K> {
        self.keys.first()
    }

    /// The largest key.
    pub fn last(&self) -> Option<&K> {
        self.keys.last()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys in order.
    pub fn iter(&self) -> slice::Iter<'_, K> {
        self.keys.iter()
    }
}

impl<'a, K> IntoIterator for &'a Set<K> {
    type Item = &'a K;
    type IntoIter = slice::Iter<'a, K>;

    fn into_iter(self) -> Self::IntoIter {
        self.keys.iter()
    }
}

impl<K> IntoIterator for Set<K> {
    type Item = K;
    type IntoIter = vec::IntoIter<K>;

    fn into_iter(self) -> Self::IntoIter {
        self.keys.into_iter()
    }
}

impl<K> Default for Set<K> {
    fn default() -> Self {
        Self { keys: Vec::new() }
    }
}

impl<K: Ord> Extend<K> for Set<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl<K: Ord> FromIterator<K> for Set<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut set = Self::new();
        set.extend(keys);
        set
    }
}

impl<K: Ord, const N: usize> From<[K; N]> for Set<K> {
    fn from(keys: [K; N]) -> Self {
        keys.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        /// Whatever is sorted comes out as the standard library's stable sort leaves it.
        #[test]
        fn short_lists_are_sorted_stably(mut items in proptest::collection::vec((0..5_u8, any::<u8>()), 0..20)) {
            let mut want = items.clone();
            want.sort_by_key(|item| item.0);
            sort_by_key(&mut items, |item| item.0);
            prop_assert_eq!(items, want);
        }

        /// Whatever is done to both, a map holds what the standard library's holds.
        #[test]
        fn maps_agree_with_trees(steps in proptest::collection::vec((0..3_u8, 0..20_u8, any::<u8>()), 0..60)) {
            let (mut map, mut tree) = (Map::new(), BTreeMap::new());
            for (what, key, value) in steps {
                match what {
                    0 => prop_assert_eq!(map.insert(key, value), tree.insert(key, value)),
                    1 => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    _ => prop_assert_eq!(
                        *map.get_or_insert_with(key, || value),
                        *tree.entry(key).or_insert(value)
                    ),
                }
                prop_assert_eq!(map.get(&key), tree.get(&key));
                prop_assert!(map.iter().eq(tree.iter()));
            }
        }

        #[test]
        fn sets_agree_with_trees(steps in proptest::collection::vec((0..3_u8, 0..20_u8), 0..60)) {
            let (mut set, mut tree) = (Set::new(), BTreeSet::new());
            for (what, key) in steps {
                match what {
                    0 => prop_assert_eq!(set.insert(key), tree.insert(key)),
                    1 => prop_assert_eq!(set.remove(&key), tree.remove(&key)),
                    _ => prop_assert_eq!(set.pop_first(), tree.pop_first()),
                }
                prop_assert_eq!(set.contains(&key), tree.contains(&key));
                prop_assert!(set.iter().eq(tree.iter()));
            }
        }
    }
}
