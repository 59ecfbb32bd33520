//! Values by name, as the headers of files have them.
//!
//! Invariant: every name stands once. Not a tree of the standard library, which would be compiled for every type of value.

use crate::sort::sorted;

/// Values by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields<V> {
    /// In the order of the file.
    fields: Vec<(String, V)>,
    /// The numbers of the fields in the alphabetical order of their names.
    order: Vec<usize>,
}

impl<V> Fields<V> {
    /// The fields of a list, or a name that stands in it twice.
    pub fn new(fields: Vec<(String, V)>) -> Result<Self, String> {
        let order = sorted(fields.len(), &|a, b| fields[a].0.cmp(&fields[b].0));
        match order
            .windows(2)
            .find(|pair| fields[pair[0]].0 == fields[pair[1]].0)
        {
            Some(pair) => Err(fields[pair[0]].0.clone()),
            None => Ok(Self { fields, order }),
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&V> {
        let place = self
            .order
            .binary_search_by(|&k| self.fields[k].0.as_str().cmp(name));
        place.ok().map(|place| &self.fields[self.order[place]].1)
    }

    /// Names and values in the alphabetical order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.order.iter().map(|&k| {
            let (name, value) = &self.fields[k];
            (name.as_str(), value)
        })
    }

    /// Names and values in the order of the file.
    pub fn into_list(self) -> Vec<(String, V)> {
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn fields_agree_with_a_tree(list in proptest::collection::vec(("[ab]{0,3}", any::<u8>()), 0..12)) {
            let tree: BTreeMap<String, u8> = list.iter().cloned().collect();
            match Fields::new(list.clone()) {
                Err(twice) => prop_assert!(list.iter().filter(|field| field.0 == twice).count() > 1),
                Ok(fields) => {
                    prop_assert_eq!(tree.len(), list.len());
                    prop_assert!(fields.iter().eq(tree.iter().map(|(name, value)| (name.as_str(), value))));
                    prop_assert!(list.iter().all(|(name, value)| fields.get(name) == Some(value)));
                    prop_assert_eq!(fields.get("none"), None);
                    prop_assert_eq!(fields.into_list(), list);
                }
            }
        }
    }
}
