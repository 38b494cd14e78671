//! The figures as a picture: a line for each dimension, over counts by powers of ten.
//!
//! Written as text here and not by a library: it is lines, circles and words at places that two functions compute.

use std::fmt::Write;

use clap::ValueEnum;

use super::{Dimension, Point, table::grouped};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Where the lines are: left, top, right, bottom.
const FRAME: [f64; 4] = [64.0, 20.0, 590.0, 380.0];
/// Of the lines, in the order of the dimensions: told apart by colour-blind people too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// What the axes span.
struct Axes {
    /// Counts go from 1 to ten to this power.
    decades: u32,
    /// Microseconds, doubled from line to line.
    least: f64,
    most: f64,
}

impl Axes {
    fn over(points: &[Point]) -> Self {
        let count = points.iter().map(|point| point.count).max().unwrap_or(1).max(10);
        let (mut least, mut most) = (1.0f64, 2.0f64);
        for cost in points.iter().map(Point::both).filter(|cost| *cost > 0.0) {
            while least > cost {
                least /= 2.0;
            }
            while most < cost {
                most *= 2.0;
            }
        }
        Self { decades: (count as f64).log10().ceil() as u32, least, most }
    }

    fn x(&self, count: f64) -> f64 {
        let [left, _, right, _] = FRAME;
        left + (right - left) * count.log10() / f64::from(self.decades)
    }

    fn y(&self, cost: f64) -> f64 {
        let [_, top, _, bottom] = FRAME;
        bottom - (bottom - top) * (cost / self.least).log2() / (self.most / self.least).log2()
    }
}

/// The picture.
pub(super) fn of(points: &[Point]) -> String {
    let mut svg = String::new();
    // Writing into a `String` does not fail.
    let _ = draw(&mut svg, points);
    svg
}

fn draw(svg: &mut String, points: &[Point]) -> std::fmt::Result {
    let axes = Axes::over(points);
    let [left, top, right, bottom] = FRAME;
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">"#
    )?;
    writeln!(svg, "<title>Processor time of a call, of client and worker together</title>")?;
    writeln!(svg, r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##)?;
    for power in 0..=axes.decades {
        let (count, x) = (10usize.pow(power), axes.x(10f64.powi(power as i32)));
        writeln!(svg, r##"<line x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}" stroke="#dddddd"/>"##)?;
        text(svg, x, bottom + 20.0, "middle", &grouped(count))?;
    }
    let mut cost = axes.least;
    while cost <= axes.most {
        let y = axes.y(cost);
        writeln!(svg, r##"<line x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="#dddddd"/>"##)?;
        text(svg, left - 8.0, y + 4.0, "end", &cost.to_string())?;
        cost *= 2.0;
    }
    text(svg, (left + right) / 2.0, bottom + 46.0, "middle", "how many (the scale is logarithmic)")?;
    let middle = (top + bottom) / 2.0;
    writeln!(svg, r#"<g transform="rotate(-90 18 {middle})">"#)?;
    text(svg, 18.0, middle, "middle", "processor time of a call, both sides, µs (logarithmic)")?;
    writeln!(svg, "</g>")?;
    let measured = |dimension| points.iter().filter(move |point| point.dimension == dimension);
    let mut legend = top + 10.0;
    for (dimension, colour) in Dimension::value_variants().iter().zip(COLOURS) {
        if measured(*dimension).next().is_none() {
            continue;
        }
        let places: Vec<_> =
            measured(*dimension).map(|point| (axes.x(point.count as f64), axes.y(point.both()))).collect();
        let line: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(svg, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, line.join(" "))?;
        for (x, y) in places {
            writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#)?;
        }
        let x = right + 16.0;
        writeln!(svg, r#"<rect x="{x}" y="{}" width="22" height="4" fill="{colour}"/>"#, legend - 6.0)?;
        text(svg, x + 30.0, legend, "start", &dimension.to_string())?;
        legend += 24.0;
    }
    writeln!(svg, "</svg>")
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) -> std::fmt::Result {
    writeln!(svg, r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="#333333">{words}</text>"##)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(dimension: Dimension, count: usize, client: f64) -> Point {
        Point { dimension, count, client, worker: 1.0, wall: 9.0 }
    }

    #[test]
    fn what_is_measured_lies_within_the_frame() {
        let points = [
            point(Dimension::Objects, 1, 0.0),
            point(Dimension::Objects, 10_000_000, 150.0),
            point(Dimension::Devices, 3, 0.01),
        ];
        let axes = Axes::over(&points);
        let [left, top, right, bottom] = FRAME;
        for point in points {
            let (x, y) = (axes.x(point.count as f64), axes.y(point.both()));
            assert!((left..=right).contains(&x) && (top..=bottom).contains(&y), "{point:?} is at {x}, {y}");
        }
        assert_eq!((axes.x(1.0), axes.x(1e7)), (left, right));
    }

    #[test]
    fn there_is_a_line_and_a_name_for_each_dimension() {
        let svg = of(&[
            point(Dimension::Objects, 1, 1.0),
            point(Dimension::Objects, 10, 2.0),
            point(Dimension::InFlight, 1, 2.0),
        ]);
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (2, 3), "{svg}");
        assert!(svg.contains(">objects alive<") && svg.contains(">calls in flight<") && !svg.contains(">devices<"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
