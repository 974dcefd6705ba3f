//! QR codes of short links, as a drawing and as a picture.
//!
//! A quarter of the code may be dirty or cut off and it is still read; the margin is the four
//! modules that the standard asks for.

use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode};

/// The margin, in modules.
const MARGIN: usize = 4;

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The text is longer than codes are.
    #[error("the URL does not fit into a QR code: {0}")]
    Code(#[from] QrError),
    /// The picture cannot be written.
    #[error("the QR code cannot be written as PNG: {0}")]
    Picture(#[from] png::EncodingError),
}

fn code_of(url: &str) -> Result<QrCode, QrError> {
    QrCode::with_error_correction_level(url, EcLevel::Q)
}

/// A code as SVG, which has no size of its own.
///
/// # Errors
/// The URL is too long.
pub fn draw_svg(url: &str) -> Result<String, CodeError> {
    let mut drawing = code_of(url)?
        .render::<svg::Color<'_>>()
        .module_dimensions(1, 1)
        .build();
    // A drawing of a pixel a module would be shown as small as that.
    if let (Some(start), Some(end)) = (drawing.find(" width="), drawing.find(" viewBox=")) {
        drawing.replace_range(start..end, "");
    }
    Ok(drawing)
}

/// A code as PNG, at most so many pixels wide; at least a pixel a module.
///
/// # Errors
/// The URL is too long.
pub fn draw_png(url: &str, most: usize) -> Result<Vec<u8>, CodeError> {
    let code = code_of(url)?;
    let modules = code.width() + 2 * MARGIN;
    let scale = (most / modules).max(1);
    let side = modules * scale;
    let colors = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let at = |pixel: usize| (pixel / scale).checked_sub(MARGIN);
        let (Some(x), Some(y)) = (at(x), at(y)) else {
            return false;
        };
        x < code.width() && colors.get(y * code.width() + x) == Some(&Color::Dark)
    };
    // A bit a pixel, lines of whole bytes: white is 1.
    let mut bits = vec![0_u8; side.div_ceil(8) * side];
    for (y, line) in bits.chunks_mut(side.div_ceil(8)).enumerate() {
        for x in (0..side).filter(|x| !is_dark(*x, y)) {
            line[x / 8] |= 0x80 >> (x % 8);
        }
    }
    let mut picture = Vec::new();
    let side = u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut picture, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header()?.write_image_data(&bits)?;
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a camera reads of a drawing of modules.
    fn read(side: usize, is_dark: impl Fn(usize, usize) -> bool) -> String {
        // A camera sees more than a pixel a module.
        let scale = (400 / side).max(1);
        let mut picture =
            rqrr::PreparedImage::prepare_from_greyscale(side * scale, side * scale, |x, y| {
                if is_dark(x / scale, y / scale) {
                    0
                } else {
                    255
                }
            });
        let grids = picture.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    const URL: &str = "https://t.example.com/r/autumn-2026_x";

    #[test]
    fn a_picture_is_read_as_the_link() {
        for most in [1, 200, 512, 2_000] {
            let picture = draw_png(URL, most).unwrap();
            let decoder = png::Decoder::new(std::io::Cursor::new(picture));
            let mut reader = decoder.read_info().unwrap();
            let mut bits = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut bits).unwrap();
            let side = info.width as usize;
            assert!(side <= most.max(60) && info.height == info.width, "{side}");
            let line = side.div_ceil(8);
            let is_dark = |x: usize, y: usize| bits[y * line + x / 8] & (0x80 >> (x % 8)) == 0;
            assert_eq!(read(side, is_dark), URL);
        }
    }

    #[test]
    fn a_drawing_is_read_as_the_link() {
        let drawing = draw_svg(URL).unwrap();
        let (_, view) = drawing.split_once("viewBox=\"0 0 ").unwrap();
        let side: usize = view.split(' ').next().unwrap().parse().unwrap();
        assert!(
            !drawing.contains("<svg width")
                && !drawing.contains("\" width=\"37\" height=\"37\" viewBox")
        );
        let mut dark = vec![false; side * side];
        let path = drawing.split(" d=\"M").nth(1).unwrap();
        for part in path.trim_end_matches("\"/></svg>").split('M') {
            let number = |text: &str| text.parse::<usize>().unwrap();
            let (x, rest) = part.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (width, rest) = rest.split_once('v').unwrap();
            let (height, _) = rest.split_once('H').unwrap();
            for y in number(y)..number(y) + number(height) {
                for x in number(x)..number(x) + number(width) {
                    dark[y * side + x] = true;
                }
            }
        }
        assert_eq!(read(side, |x, y| dark[y * side + x]), URL);
    }

    #[test]
    fn what_is_too_long_is_told() {
        let error = draw_svg(&"x".repeat(5_000)).unwrap_err().to_string();
        assert!(error.contains("does not fit"), "{error}");
    }
}
