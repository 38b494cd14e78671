//! The figures as a table, in Markdown.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use super::Point;

/// A row for each figure; the last column says how often a call costs what it costs with one.
pub(super) fn of(points: &[Point]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["what there is more of", "how many", "client, µs", "worker, µs", "both, µs", "× that of one"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut first: Option<&Point> = None;
    for point in points {
        let one = match first.filter(|first| first.dimension == point.dimension) {
            Some(one) => one,
            None => first.insert(point),
        };
        let figures = [point.client, point.worker, point.both(), point.both() / one.both()];
        let mut row = vec![point.dimension.to_string(), grouped(point.count)];
        row.extend(figures.map(|figure| format!("{figure:.2}")));
        table.add_row(row);
    }
    table.to_string()
}

/// A count as people write it: `1,000`.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut said = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::{super::Dimension, *};

    #[test]
    fn counts_are_grouped() {
        assert_eq!([1, 999, 1000, 10_000_000].map(grouped), ["1", "999", "1,000", "10,000,000"]);
    }

    #[test]
    fn every_dimension_begins_anew() {
        let point = |dimension, count, client| Point { dimension, count, client, worker: 1.0, wall: 9.0 };
        let table = of(&[
            point(Dimension::Objects, 1, 1.0),
            point(Dimension::Objects, 1000, 2.0),
            point(Dimension::Devices, 1, 3.0),
        ]);
        let last: Vec<_> = table.lines().skip(2).filter_map(|row| row.split('|').rev().nth(1)).map(str::trim).collect();
        assert_eq!(last, ["1.00", "1.50", "1.00"], "{table}");
        assert!(table.contains("1,000"), "{table}");
    }
}
