//! `#[recompute]` on a single layer: its call becomes a loop of one step, which keeps nothing but its operands.

use std::rc::Rc;

use crate::diag::SourceSpan;
use crate::ir::Mode;
use crate::lower::call::Given;
use crate::lower::collect::{Collection, CollectionId, CollectionState};
use crate::lower::object::Object;
use crate::lower::region::Header;
use crate::lower::tree::{InstanceId, Kind};
use crate::lower::work::{Frame, Work};
use crate::ops::scan::{Order, Recording};
use crate::shape::Dim;

impl<'a> Work<'_, 'a, '_> {
    /// Whether what a layer computes is computed again by the way back.
    pub fn is_recomputed(&self, id: InstanceId) -> bool {
        let instance = &self.tree.instances[id];
        let is_layer = matches!(instance.kind, Kind::Model(_) | Kind::Layer(_));
        self.b.mode == Mode::Train && is_layer && instance.recording == Recording::Carries
    }

    /// Evaluates a call of a layer marked `#[recompute]`, as a loop of one step that keeps nothing but its operands.
    pub fn recomputed(
        &mut self,
        frame: &mut Frame<'a>,
        id: InstanceId,
        given: Given<'a>,
        span: SourceSpan,
        call: impl FnOnce(&mut Self, &mut Frame<'a>, Given<'a>) -> Object,
    ) -> Object {
        let path = &self.tree.instances[id].path;
        let header = Header {
            name: path.rsplit('.').next().unwrap_or("layer").into(),
            recording: Recording::Carries,
            index: self.fresh_index(),
            count: Dim::one(),
            order: Order::Ascending,
            arrays: Vec::new(),
        };
        let depth = self.depth();
        self.enter(header, frame.scopes.len());
        let positional = given.positional.iter();
        let positional = positional
            .map(|(object, place)| (self.import(object, depth), *place))
            .collect();
        let named = given.named.iter();
        let named = named
            .map(|(name, object, place)| (*name, self.import(object, depth), *place))
            .collect();
        let result = call(self, frame, Given { positional, named });
        let collected = self.collect_all(&result, depth, span);
        self.finish_loop(frame, Vec::new(), Vec::new(), SourceSpan::from(span.start));
        self.only_rows(&result, &mut collected.into_iter())
    }

    /// Collects every tensor of an object.
    fn collect_all(&mut self, object: &Object, depth: usize, span: SourceSpan) -> Vec<CollectionId> {
        match object {
            Object::Tensor(value) => {
                self.collections.push(Collection {
                    depth,
                    state: CollectionState::Filling(span),
                });
                let id = self.collections.len() - 1;
                if let Some(region) = self.regions.last_mut() {
                    region.collected.push((id, *value));
                }
                vec![id]
            }
            Object::Tuple(parts) => {
                let parts = parts.iter();
                parts
                    .flat_map(|part| self.collect_all(part, depth, span))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The same object with the only row of what was collected for each of its tensors.
    fn only_rows(&mut self, object: &Object, collected: &mut dyn Iterator<Item = CollectionId>) -> Object {
        match object {
            Object::Tensor(_) => match collected.next().map(|id| self.collections[id].state) {
                Some(CollectionState::Full(rows)) => {
                    let shape = self.b.shape(rows)[1..].to_vec();
                    Object::Tensor(self.b.reshape(rows, shape))
                }
                _ => Object::Poison,
            },
            Object::Tuple(parts) => {
                let parts = parts.iter();
                Object::Tuple(parts.map(|part| self.only_rows(part, collected)).collect())
            }
            other => other.clone(),
        }
    }

    fn fresh_index(&self) -> Rc<str> {
        let mut names = (1..).map(|k| {
            if k == 1 {
                "once".to_owned()
            } else {
                format!("once{k}")
            }
        });
        let free = names.find(|name| self.is_free(name));
        free.unwrap_or_else(|| "once".to_owned()).into()
    }
}
