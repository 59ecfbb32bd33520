//! Digits as images: reading files, the network's input, and text art.

use std::path::Path;

use ndarray::{Array2, Array4};
use tapeless::data::Mnist;
use tapeless::{Error, ErrorKind, Result};

/// Grey levels from empty to full.
const SHADES: &[u8] = b" .:-=+*#%@";

/// Reads an image file as MNIST stores digits: 28 x 28, bright strokes on a dark ground.
///
/// A bright picture is taken for ink on paper and inverted.
pub fn read(path: &Path) -> Result<Array2<u8>> {
    let wrong = |error: image::ImageError| {
        Error::new(ErrorKind::Format, format!("{}: {error}", path.display()))
            .hint("give a PNG, JPEG, BMP or PNM file")
    };
    let grey = image::open(path).map_err(wrong)?.into_luma8();
    let size = (Mnist::WIDTH as u32, Mnist::HEIGHT as u32);
    let grey = if grey.dimensions() == size {
        grey
    } else {
        image::imageops::resize(&grey, size.0, size.1, image::imageops::FilterType::Triangle)
    };
    let pixels = Array2::from_shape_fn((Mnist::HEIGHT, Mnist::WIDTH), |(y, x)| {
        grey.get_pixel(x as u32, y as u32).0[0]
    });
    let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64;
    Ok(if mean > 127.0 {
        pixels.mapv(|p| 255 - p)
    } else {
        pixels
    })
}

/// A batch of one image, normalised as the training images are.
pub fn normalised(pixels: &Array2<u8>) -> Array4<f32> {
    let (height, width) = pixels.dim();
    let scaled = pixels.mapv(|p| (f32::from(p) / 255.0 - Mnist::MEAN) / Mnist::STD);
    scaled
        .into_shape_with_order((1, 1, height, width))
        .expect("as many elements as before")
}

/// The image in characters, two for a pixel, so that it is about square.
pub fn text_art(pixels: &Array2<u8>) -> String {
    let mut art = String::new();
    for row in pixels.rows() {
        let line: String = row
            .iter()
            .flat_map(|&p| [SHADES[usize::from(p) * (SHADES.len() - 1) / 255] as char; 2])
            .collect();
        art.push_str(line.trim_end());
        art.push('\n');
    }
    art
}
