//! Images as text.

use super::digits::SIDE;

const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// A pixel is two characters wide, so that it is about as wide as high.
const WIDTH: usize = 2 * SIDE;

/// Images side by side, each over its caption.
pub(super) fn side_by_side(images: &[(Vec<f32>, String)]) -> String {
    let mut lines: Vec<String> = (0..SIDE)
        .map(|row| {
            join(images.iter().map(|(pixels, _)| pixels.iter().skip(row * SIDE).take(SIDE).map(shade).collect()))
        })
        .collect();
    lines.push(String::new());
    lines.push(join(images.iter().map(|(_, caption)| caption.clone())));
    lines.join("\n")
}

fn join(cells: impl Iterator<Item = String>) -> String {
    let padded = cells.map(|cell| format!("  {cell:WIDTH$}"));
    padded.collect::<String>().trim_end().to_owned()
}

fn shade(pixel: &f32) -> String {
    let darkest = SHADES.len() - 1;
    // A cast of a float saturates.
    let at = ((pixel * darkest as f32).round() as usize).min(darkest);
    [SHADES[at]; 2].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_is_dark_and_paper_is_not() {
        let of = |pixel: f32| shade(&pixel);
        assert_eq!([of(0.0), of(0.25), of(0.5), of(0.75), of(1.0)], ["  ", "░░", "▒▒", "▓▓", "██"]);
        assert_eq!([of(-1.0), of(2.0), of(f32::NAN)], ["  ", "██", "  "]);
    }

    #[test]
    fn a_caption_stands_under_its_image() {
        let black = vec![1.0; SIDE * SIDE];
        let text = side_by_side(&[(black.clone(), "one".to_owned()), (black, "two".to_owned())]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), SIDE + 2);
        assert_eq!(lines[0], format!("  {0}  {0}", "█".repeat(WIDTH)));
        assert_eq!(lines[SIDE + 1], format!("  {:WIDTH$}  two", "one"));
    }
}
