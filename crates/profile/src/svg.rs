//! A flame graph as a picture that stands alone.
//!
//! ```text
//! width of a box = its total; in a difference the larger of both sides, so that what vanished stays visible
//! colour         = one profile: by name; a difference: red for more, blue for less, grey for what does not count
//! ```
//!
//! Boxes are drawn from the root downwards, as an icicle. Everything that comes from a profile is escaped.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::flame::{Flame, FlameNode};

const WIDTH: f64 = 1200.0;
const ROW: f64 = 17.0;
const TOP: f64 = 42.0;
/// Boxes narrower than this are left out.
const BOX_MIN: f64 = 0.4;
/// A letter of the font at size 11.
const LETTER: f64 = 6.6;

/// How to draw.
#[derive(Clone, Debug, Default)]
pub struct Drawing<'a> {
    /// Headline.
    pub title: &'a str,
    /// Unit of the numbers: `samples`, `nanoseconds`, `bytes`.
    pub unit: &'a str,
    /// Names of functions whose difference counts; everything else is grey. `None` draws one profile.
    pub moved: Option<&'a BTreeSet<String>>,
}

/// Draws a graph as an SVG document.
pub fn svg(flame: &Flame, drawing: &Drawing<'_>) -> String {
    let mut picture = Picture { flame, drawing, out: String::new(), depth: 0 };
    let root = flame.nodes.first().cloned().unwrap_or_default();
    let [before, now] = root.total.map(|total| total.max(1) as f64);
    picture.nodes(Scale { before, now });
    let height = TOP + ROW * (picture.depth + 1) as f64 + 8.0;
    let mut out = String::new();
    // Writing into a text cannot fail.
    let _written = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"ui-monospace,monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\">{}</text>\n<text x=\"8\" y=\"34\" fill=\"#666\">{}</text>\n{}</svg>\n",
        escaped(drawing.title),
        escaped(&picture.legend(&root)),
        picture.out
    );
    out
}

/// What stands for the whole width on each side.
#[derive(Clone, Copy)]
struct Scale {
    before: f64,
    now: f64,
}

struct Picture<'a> {
    flame: &'a Flame,
    drawing: &'a Drawing<'a>,
    out: String,
    depth: usize,
}

impl Picture<'_> {
    fn legend(&self, root: &FlameNode) -> String {
        let unit = self.drawing.unit;
        match self.drawing.moved {
            None => format!("{} {unit}", root.total[1]),
            Some(moved) => format!(
                "{} {unit} before, {} now; red: more, blue: less, grey: no significant difference ({} functions moved)",
                root.total[0],
                root.total[1],
                moved.len()
            ),
        }
    }

    /// A node's share of the width: of one profile its own, in a difference the larger one.
    fn share(&self, node: &FlameNode, scale: Scale) -> f64 {
        let (before, now) = (node.total[0] as f64 / scale.before, node.total[1] as f64 / scale.now);
        if self.drawing.moved.is_some() { before.max(now) } else { now }
    }

    /// Draws everything. Stacks may be thousands of frames deep, so what is still to draw waits in a list.
    fn nodes(&mut self, scale: Scale) {
        let flame = self.flame;
        let mut waiting = vec![(0_usize, 0_usize, 0.0, WIDTH)];
        while let Some((id, depth, x, width)) = waiting.pop() {
            let Some(node) = flame.nodes.get(id).filter(|_| BOX_MIN <= width) else { continue };
            self.depth = self.depth.max(depth);
            self.draw(node, depth, x, width, scale);
            let share = |child: &usize| flame.nodes.get(*child).map_or(0.0, |child| self.share(child, scale));
            let shares: Vec<f64> = node.children.iter().map(share).collect();
            // Larger sides of several children may be more than the larger side of their caller.
            let squeeze = (width / WIDTH / shares.iter().sum::<f64>()).min(1.0);
            let mut at = x;
            for (child, share) in node.children.iter().zip(shares) {
                let width = share * squeeze * WIDTH;
                waiting.push((*child, depth + 1, at, width));
                at += width;
            }
        }
    }

    fn draw(&mut self, node: &FlameNode, depth: usize, x: f64, width: f64, scale: Scale) {
        let name = self.flame.name(node);
        let y = TOP + ROW * depth as f64;
        let (before, now) = (100.0 * node.total[0] as f64 / scale.before, 100.0 * node.total[1] as f64 / scale.now);
        let told = if self.drawing.moved.is_some() {
            format!("{name}: {before:.2} % before, {now:.2} % now ({:+.2} points)", now - before)
        } else {
            format!("{name}: {} {} ({now:.2} %)", node.total[1], self.drawing.unit)
        };
        let fits = (width / LETTER) as usize;
        let label = if fits < 4 { String::new() } else { shortened(name, fits - 1) };
        let _written = writeln!(
            self.out,
            "<g><title>{}</title><rect x=\"{x:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{}\" fill=\"{}\" rx=\"1\"/>\
             <text x=\"{:.2}\" y=\"{}\">{}</text></g>",
            escaped(&told),
            (width - 0.5).max(0.3),
            ROW - 1.0,
            self.colour(name, now - before),
            x + 3.0,
            y + 12.0,
            escaped(&label)
        );
    }

    fn colour(&self, name: &str, points: f64) -> String {
        let Some(moved) = self.drawing.moved else {
            // The same function has the same colour in every picture.
            let hash =
                name.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
            return format!("hsl({},{}%,{}%)", 12 + hash % 40, 68 + (hash >> 8) % 18, 62 + (hash >> 16) % 12);
        };
        if !moved.contains(name) {
            return "#ddd".to_owned();
        }
        // Ten points of share are full colour.
        let lightness = 90.0 - 40.0 * (points.abs() / 10.0).min(1.0);
        format!("hsl({},80%,{lightness:.0}%)", if 0.0 < points { 4 } else { 215 })
    }
}

fn shortened(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    // The end of a name says more than its begin: packages stand first.
    let skip = name.chars().count() - letters + 1;
    std::iter::once('\u{2026}').chain(name.chars().skip(skip)).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Not allowed in XML, not even escaped.
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}
