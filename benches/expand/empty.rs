// No model: what a crate costs that only imports the prelude.
#[allow(unused_imports)]
use tapeless::prelude::*;
