//! In which order the axes of images lie.
//!
//! Users write images channels first, `[B, C, H, W]`, as PyTorch does, and so do shape rules and messages. Kernels read them
//! channels last, `[B, H, W, C]`: all channels of a pixel are neighbours, so that a window is read in whole vectors however narrow
//! the image is. The layout stage turns the one into the other; operations on images carry which one they work on. A batch of
//! sequences, `[B, C, L]`, is turned in the same way: the channels are axis 1, or the last.

/// The order of the axes of an image.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Images {
    /// `[B, C, H, W]`: what users write.
    ChannelsFirst,
    /// `[B, H, W, C]`: what kernels read.
    ChannelsLast,
}

impl Images {
    /// The axis that counts the channels of a tensor `[B, C, ...]`.
    pub fn channel_axis(self, rank: usize) -> usize {
        match self {
            Self::ChannelsFirst => 1,
            Self::ChannelsLast => rank - 1,
        }
    }

    /// The axes of rows and columns of a tensor whose last axes are those of an image.
    pub fn plane(self, rank: usize) -> [usize; 2] {
        match self {
            Self::ChannelsFirst => [rank - 2, rank - 1],
            Self::ChannelsLast => [rank - 3, rank - 2],
        }
    }

    /// What stands for each axis of an image that lies in this order, channels first.
    pub fn to_first<T: Clone>(self, axes: &[T]) -> Vec<T> {
        match self {
            Self::ChannelsFirst => axes.to_vec(),
            Self::ChannelsLast => permuted(axes, &first_of_last(axes.len())),
        }
    }

    /// What stands for each axis of an image, given channels first, in this order.
    pub fn of_first<T: Clone>(self, axes: &[T]) -> Vec<T> {
        match self {
            Self::ChannelsFirst => axes.to_vec(),
            Self::ChannelsLast => permuted(axes, &last_of_first(axes.len())),
        }
    }

    /// Attributes with this one behind them, as printed graphs show them; nothing is said of what users write.
    pub fn behind(self, attributes: String) -> String {
        match self {
            Self::ChannelsFirst => attributes,
            Self::ChannelsLast if attributes.is_empty() => "channels last".to_owned(),
            Self::ChannelsLast => attributes + ", channels last",
        }
    }
}

/// The permutation from channels first to channels last: `[0, 2, 3, 1]` for images.
pub fn last_of_first(rank: usize) -> Vec<usize> {
    let mut axes: Vec<usize> = (0..rank).collect();
    axes[1..].rotate_left(1);
    axes
}

/// The permutation from channels last to channels first: `[0, 3, 1, 2]` for images.
pub fn first_of_last(rank: usize) -> Vec<usize> {
    let mut axes: Vec<usize> = (0..rank).collect();
    axes[1..].rotate_right(1);
    axes
}

fn permuted<T: Clone>(axes: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&k| axes[k].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_there_and_back_is_nothing() {
        let image = ["B", "C", "H", "W"];
        let last = Images::ChannelsLast.of_first(&image);
        assert_eq!(last, ["B", "H", "W", "C"]);
        assert_eq!(Images::ChannelsLast.to_first(&last), image);
        assert_eq!(Images::ChannelsFirst.to_first(&image), image);
        for images in [Images::ChannelsFirst, Images::ChannelsLast] {
            let lying = images.of_first(&image);
            assert_eq!(lying[images.channel_axis(4)], "C");
            assert_eq!(images.plane(4).map(|axis| lying[axis]), ["H", "W"]);
        }
        assert_eq!(Images::ChannelsLast.of_first(&["B", "C", "L"]), ["B", "L", "C"]);
    }

    #[test]
    fn only_channels_last_is_said() {
        let text = |attributes: &str| Images::ChannelsLast.behind(attributes.to_owned());
        assert_eq!(
            Images::ChannelsFirst.behind("stride = 2".to_owned()),
            "stride = 2"
        );
        assert_eq!(
            (&*text("stride = 2"), &*text("")),
            ("stride = 2, channels last", "channels last")
        );
    }
}
