//! The chart for the README: for each of a few rows, a bar for each server.

use std::fmt::Write as _;

use super::number;
use crate::peers::{self, FILES};
use crate::rows::Better;
use crate::suite::{Results, RowResult};

/// The rows that are drawn, each with the measure that is, and what it is called there.
const DRAWN: [(&str, usize, &str); 9] = [
    ("manifest", 0, "Manifests given out in a second"),
    ("blob", 0, "Processor seconds to give out a gigabyte"),
    ("manifest-tls", 0, "Manifests given out in a second through TLS and an account"),
    ("blob-tls", 0, "Processor seconds to give out a gigabyte through TLS"),
    ("push", 0, "Processor seconds to take in a gigabyte"),
    ("images", 0, "Small images pushed in a second, one after another"),
    ("images-16", 0, "Small images pushed in a second, 16 at once"),
    ("catalog", 0, "Catalog pages given out in a second"),
    ("transfers", 0, "MiB of memory for 64 transfers at once"),
];

const WIDTH: f64 = 760.0;
const LABEL: f64 = 150.0;
const BAR: f64 = 16.0;
const ROW: f64 = 20.0;
const ROOM: f64 = WIDTH - LABEL - 110.0;

/// The chart as an SVG file.
pub(crate) fn write(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    for (id, measure, title) in DRAWN {
        let Some(row) = results.rows.iter().find(|row| row.id == id) else { continue };
        y = group(&mut body, row, measure, title, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\" \
         aria-label=\"Wharfinger beside other registries\">\n\
         <style>\n  text {{ font: 13px system-ui, sans-serif; fill: #24292f }}\n  .title {{ font-weight: 600 }}\n  \
         .note {{ fill: #6e7781 }}\n  .other {{ fill: #b6c2cf }}\n  .limit {{ fill: #e3e7ec }}\n  .ours {{ fill: #1f6feb }}\n  \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .note {{ fill: #9198a1 }} \
         .other {{ fill: #57606a }} .limit {{ fill: #343b44 }} }}\n</style>\n{body}</svg>\n"
    )
}

fn group(body: &mut String, row: &RowResult, measure: usize, title: &str, top: f64) -> f64 {
    let values: Vec<(&str, f64)> =
        row.servers.iter().filter_map(|server| Some((server.name, server.spread(measure)?.median))).collect();
    let most = values.iter().map(|&(_, value)| value).fold(0.0, f64::max);
    if most <= 0.0 {
        return top;
    }
    let way = match row.measures[measure].better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    let _ = writeln!(
        body,
        "<text class=\"title\" x=\"0\" y=\"{:.0}\">{title} <tspan class=\"note\">({way})</tspan></text>",
        top + 14.0
    );
    let mut y = top + 22.0;
    for (name, value) in values {
        let class = match name {
            name if peers::is_ours(name) => "ours",
            FILES | "bare hyper" => "limit",
            _ => "other",
        };
        let width = (value / most * ROOM).max(1.0);
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{LABEL}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            LABEL - 8.0,
            y + 13.0,
            LABEL + width + 6.0,
            y + 13.0,
            number(value),
        );
        y += ROW;
    }
    y + 14.0
}
