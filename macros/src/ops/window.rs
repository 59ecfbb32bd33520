//! The window that convolution and pooling slide over an image.

use crate::ir::{Args, CallArg, ShapeError};
use crate::shape::Dim;

/// How a window moves; pairs are (height, width).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Step from a place to the next, at least 1.
    pub stride: [i64; 2],
    /// Elements added on either side of the image.
    pub padding: [i64; 2],
    /// Distance of neighbouring elements of the window, at least 1.
    pub dilation: [i64; 2],
}

impl Window {
    /// Takes `stride`, `padding` and `dilation`, which are literals or pairs of them.
    pub fn take(args: &mut Args, default_stride: i64) -> Result<Self, ShapeError> {
        let stride = args.pair_or("stride", default_stride)?;
        let padding = args.pair_or("padding", 0)?;
        let dilation = args.pair_or("dilation", 1)?;
        for (name, pair, least) in [
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("dilation", dilation, 1),
        ] {
            if let Some(n) = pair.iter().find(|n| **n < least) {
                return Err(ShapeError::new(format!(
                    "`{name}` must be at least {least}, found {n}"
                )));
            }
        }
        Ok(Self {
            stride,
            padding,
            dilation,
        })
    }

    /// The number of places along both axes: `floor((n + 2 p - d (k - 1) - 1) / s) + 1`.
    ///
    /// # Errors
    /// Where the window is known to be larger than the padded image.
    pub fn places(&self, op: &str, image: [&Dim; 2], kernel: [&Dim; 2]) -> Result<[Dim; 2], ShapeError> {
        let mut places = [Dim::zero(), Dim::zero()];
        for (k, word) in ["rows", "columns"].into_iter().enumerate() {
            let padded = image[k] + self.padding[k] * 2;
            let covered = (kernel[k] - 1) * self.dilation[k] + 1;
            let room = &padded - &covered;
            if room.as_lit().is_some_and(|n| n < 0) {
                let message = format!(
                    "the window of `{op}` covers {covered} {word}, but the padded image has only {padded}"
                );
                return Err(ShapeError::new(message).help("make `padding` larger, or the kernel smaller"));
            }
            places[k] = room.floor_div(&Dim::lit(self.stride[k])) + 1;
        }
        Ok(places)
    }

    /// The fields `stride`, `padding` and `dilation` of the runtime's structs.
    pub fn fields(&self) -> [(&'static str, CallArg); 3] {
        let pair = |pair: [i64; 2]| CallArg::Sizes(pair.map(Dim::lit).to_vec());
        [
            ("stride", pair(self.stride)),
            ("padding", pair(self.padding)),
            ("dilation", pair(self.dilation)),
        ]
    }

    /// The options that differ from doing nothing, for printed graphs.
    pub fn text(&self) -> String {
        let options = [
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ];
        let spelled = options.iter().filter(|(_, pair, usual)| *pair != [*usual; 2]);
        let spelled: Vec<String> = spelled
            .map(|(name, [a, b], _)| {
                if a == b {
                    format!("{name} = {a}")
                } else {
                    format!("{name} = ({a}, {b})")
                }
            })
            .collect();
        spelled.join(", ")
    }
}
