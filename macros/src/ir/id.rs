//! Typed indices: a `u32` that cannot be confused with another kind of index.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($prefix:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(u32);

        impl $name {
            /// The id of the `index`-th item.
            pub fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("fewer than 2^32 items"))
            }

            /// The position of the item in its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// A node of a [`Graph`](super::Graph).
    NodeId("%");
    /// A trained tensor of the model being compiled; its slot in the flat parameter buffer.
    ParamId("param");
    /// A carried tensor (running statistics) of the model; its slot in the flat state buffer.
    StateId("state");
    /// An argument of the function being compiled.
    InputId("arg");
}

/// One result of a node.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Value {
    /// The node that computes it.
    pub node: NodeId,
    /// Which of the node's results.
    pub output: usize,
}

impl Value {
    /// The first (mostly the only) result of a node.
    pub fn first(node: NodeId) -> Self {
        Self { node, output: 0 }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.output == 0 {
            write!(f, "{}", self.node)
        } else {
            write!(f, "{}.{}", self.node, self.output)
        }
    }
}
