//! The window that convolution and pooling slide over an image or a sequence.

use crate::ir::{Args, CallArg, Constraints, ShapeError};
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

    /// The number of places along both axes: see [`Slide::places`].
    ///
    /// # Errors
    /// Where the window is known to be larger than the padded image.
    pub fn places(
        &self,
        op: &str,
        image: [&Dim; 2],
        kernel: [&Dim; 2],
        constraints: &mut Constraints,
    ) -> Result<[Dim; 2], ShapeError> {
        let [rows, columns] = [0, 1].map(|k| Slide {
            stride: self.stride[k],
            padding: self.padding[k],
            dilation: self.dilation[k],
        });
        Ok([
            rows.places(op, ["rows", "image"], image[0], kernel[0], constraints)?,
            columns.places(op, ["columns", "image"], image[1], kernel[1], constraints)?,
        ])
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

/// How a window moves along one axis.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Slide {
    /// Step from a place to the next, at least 1.
    pub stride: i64,
    /// Elements added on either side.
    pub padding: i64,
    /// Distance of neighbouring elements of the window, at least 1.
    pub dilation: i64,
}

impl Slide {
    /// Takes `stride`, `padding` and `dilation`, which are literals.
    pub fn take(args: &mut Args, default_stride: i64) -> Result<Self, ShapeError> {
        let mut number = |name, default, least| {
            let n = args.literal(usize::MAX, name)?.unwrap_or(default);
            let message = || format!("`{name}` must be at least {least}, found {n}");
            (n >= least)
                .then_some(n)
                .ok_or_else(|| ShapeError::new(message()))
        };
        Ok(Self {
            stride: number("stride", default_stride, 1)?,
            padding: number("padding", 0, 0)?,
            dilation: number("dilation", 1, 1)?,
        })
    }

    /// The number of places along an axis of that size: `floor((n + 2 p - d (k - 1) - 1) / s) + 1`. The words say what lies
    /// along the axis and what the axis belongs to: rows of an image.
    ///
    /// # Errors
    /// Where the window is known to be larger than the padded axis; what is not known is checked at each call.
    pub fn places(
        &self,
        op: &str,
        [elements, whole]: [&str; 2],
        size: &Dim,
        kernel: &Dim,
        constraints: &mut Constraints,
    ) -> Result<Dim, ShapeError> {
        let padded = size + Dim::lit(self.padding) * 2;
        let covered = (kernel - 1) * self.dilation + 1;
        let message = || {
            format!(
                "the window of `{op}` covers {covered} {elements}, but the padded {whole} has only {padded}"
            )
        };
        constraints
            .at_least(&padded, &covered, message)
            .map_err(|error| error.help("make `padding` larger, or the kernel smaller"))?;
        let room = &padded - &covered;
        Ok(room.floor_div(&Dim::lit(self.stride)) + 1)
    }

    /// The same movement along the only row of an image.
    pub fn along_a_row(&self) -> Window {
        Window {
            stride: [1, self.stride],
            padding: [0, self.padding],
            dilation: [1, self.dilation],
        }
    }
}
