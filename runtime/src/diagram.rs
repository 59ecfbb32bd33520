//! A model as a drawing: one card a layer, a frame around the layers of a model, arrays once.
//!
//! The drawing is an SVG with text in it, made of nothing but the rows of [`summary`](crate::summary): the same model has the
//! same bytes everywhere. It has colours for light and for dark surroundings, and its own background, so that it can be read
//! where the choice is not understood. Layers stand in the order of the fields; what flows from which to which is not drawn,
//! because a field may be used anywhere, and more than once.

use std::fmt::Write;

use crate::program::{LayerRow, Program};
use crate::summary::grouped;

/// Width of a character of the fixed-width fonts below, as a share of the font's size.
const CHARACTER: f64 = 0.602;
/// Size of names and shapes.
const FONT: f64 = 13.0;
/// Size of kinds and counts.
const SMALL: f64 = 11.5;
/// Around the page, and inside of frames.
const PADDING: f64 = 14.0;
/// Between two cards.
const GAP: f64 = 8.0;
/// Height of a card, and of the head of a frame.
const CARD: f64 = 46.0;
/// Height of the title.
const TITLE: f64 = 54.0;
/// How far the second card of an array shows behind the first.
const BEHIND: f64 = 4.0;
/// The narrowest and the widest page.
const WIDTHS: (f64, f64) = (440.0, 920.0);

const STYLE: &str = "\
text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:13px;fill:#1f2328}\
.small{font-size:11.5px;fill:#59636e}\
.title{font-size:17px;font-weight:bold}\
.name{font-weight:bold}\
.end{text-anchor:end}\
.page{fill:#ffffff;stroke:#d1d9e0}\
.frame{fill:#f6f8fa;stroke:#afb8c1}\
.card{fill:#ffffff;stroke:#c4ccd4}\
.bare{fill:#f6f8fa;stroke:#d1d9e0}\
.mark{fill:#0969da}\
.share{fill:#0969da}\
.count{fill:#0969da;font-weight:bold}\
@media (prefers-color-scheme:dark){\
text{fill:#e6edf3}.small{fill:#9198a1}\
.page{fill:#0d1117;stroke:#3d444d}.frame{fill:#151b23;stroke:#656c76}\
.card{fill:#212830;stroke:#3d444d}.bare{fill:#151b23;stroke:#3d444d}\
.mark,.share,.count{fill:#4493f8}}";

/// A layer with those inside of it.
struct Node<'a> {
    row: &'a LayerRow,
    /// The last part of the path.
    name: &'a str,
    /// The kind of one element, if it is an array, else of the layer.
    kind: &'a str,
    /// Lengths of the arrays that it is, the outermost first.
    counts: Vec<&'a str>,
    inside: Vec<Node<'a>>,
}

/// The drawing of a model.
pub(crate) fn diagram(program: &Program, generics: &[usize]) -> String {
    render(program.name, &program.layer_rows(generics))
}

fn render(model: &str, rows: &[LayerRow]) -> String {
    let nodes = tree(rows);
    let n_params: usize = nodes.iter().map(|node| node.row.params).sum();
    let flops: u64 = nodes.iter().map(|node| node.row.flops).sum();
    let total = format!(
        "{} parameters, {} FLOPs per sample",
        grouped(n_params as u64),
        grouped(flops)
    );
    let wanted = nodes.iter().map(|node| node.width(0)).fold(0.0, f64::max);
    let least = text_width(total.chars().count(), SMALL) + 2.0 * PADDING;
    let width = (wanted + 2.0 * PADDING)
        .max(least)
        .clamp(WIDTHS.0, WIDTHS.1)
        .ceil();
    let height = (TITLE + stack_height(&nodes) + PADDING).ceil();
    let mut page = Page {
        text: String::new(),
        n_params,
    };
    let title = escape(model);
    let _ = writeln!(
        page.text,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">"#
    );
    let _ = writeln!(
        page.text,
        "<title>{title}: {}</title>\n<style>{STYLE}</style>",
        escape(&total)
    );
    page.rect("page", (0.5, 0.5), (width - 1.0, height - 1.0), 8.0);
    page.label(
        "title",
        (PADDING, 25.0),
        &fitted(model, width - 2.0 * PADDING, 17.0),
    );
    page.label(
        "small",
        (PADDING, 43.0),
        &fitted(&total, width - 2.0 * PADDING, SMALL),
    );
    page.stack(&nodes, (PADDING, TITLE), width - 2.0 * PADDING);
    page.text.push_str("</svg>\n");
    page.text
}

/// The rows as trees: a layer lies in the one before it whose path its own continues.
fn tree(rows: &[LayerRow]) -> Vec<Node<'_>> {
    let mut rest = rows;
    let mut nodes = Vec::new();
    while let Some((row, after)) = rest.split_first() {
        let is_inside = |other: &LayerRow| {
            let continued = other.path.strip_prefix(row.path);
            continued.is_some_and(|end| end.starts_with('.'))
        };
        let n_inside = after.iter().take_while(|other| is_inside(other)).count();
        let (inside, others) = after.split_at(n_inside);
        let (kind, counts) = element(row.kind);
        nodes.push(Node {
            row,
            name: row.path.rsplit('.').next().unwrap_or(row.path),
            kind,
            counts,
            inside: tree(inside),
        });
        rest = others;
    }
    nodes
}

/// `[Block<8>; 4]` as `Block<8>` and `4`.
fn element(kind: &str) -> (&str, Vec<&str>) {
    let (mut kind, mut counts) = (kind, Vec::new());
    while let Some(inside) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let Some((element, count)) = inside.rsplit_once("; ") else {
            break;
        };
        counts.push(count);
        kind = element;
    }
    (kind, counts)
}

impl Node<'_> {
    fn height(&self) -> f64 {
        let behind = if self.counts.is_empty() { 0.0 } else { BEHIND };
        let inside = match self.inside.as_slice() {
            [] => 0.0,
            nodes => stack_height(nodes) + PADDING,
        };
        CARD + inside + behind
    }

    /// The width at which nothing has to be shortened.
    fn width(&self, depth: usize) -> f64 {
        let texts = [self.name, self.kind].map(|text| text.chars().count());
        let left = text_width(texts[0], FONT).max(text_width(texts[1] + self.count().chars().count(), SMALL));
        let right = text_width(self.row.output.chars().count(), FONT)
            .max(text_width(self.params().chars().count(), SMALL));
        let own = left + right + 4.0 * PADDING + 2.0 * PADDING * depth as f64;
        self.inside
            .iter()
            .map(|node| node.width(depth + 1))
            .fold(own, f64::max)
    }

    /// ` × 4`
    fn count(&self) -> String {
        self.counts.iter().map(|count| format!(" × {count}")).collect()
    }

    fn params(&self) -> String {
        match self.row.params {
            0 => String::new(),
            1 => "1 parameter".to_owned(),
            n => format!("{} parameters", grouped(n as u64)),
        }
    }
}

fn stack_height(nodes: &[Node<'_>]) -> f64 {
    let heights: f64 = nodes.iter().map(Node::height).sum();
    heights + GAP * nodes.len().saturating_sub(1) as f64
}

/// The drawing so far.
struct Page {
    text: String,
    /// Parameters of the whole model, of which every layer has a share.
    n_params: usize,
}

impl Page {
    fn stack(&mut self, nodes: &[Node<'_>], (x, mut y): (f64, f64), width: f64) {
        for node in nodes {
            self.node(node, (x, y), width);
            y += node.height() + GAP;
        }
    }

    fn node(&mut self, node: &Node<'_>, (x, y): (f64, f64), width: f64) {
        let class = match (node.inside.is_empty(), node.row.params) {
            (false, _) => "frame",
            (true, 0) => "bare",
            (true, _) => "card",
        };
        let (mut width, mut height) = (width, node.height());
        if !node.counts.is_empty() {
            (width, height) = (width - BEHIND, height - BEHIND);
            self.rect(class, (x + BEHIND, y + BEHIND), (width, height), 6.0);
        }
        self.rect(class, (x, y), (width, height), 6.0);
        if node.row.params > 0 && node.inside.is_empty() {
            self.share(node.row.params, (x, y + height), width);
        }
        let right = text_width(node.row.output.chars().count(), FONT)
            .max(text_width(node.params().chars().count(), SMALL));
        let left = width - right - 3.0 * PADDING;
        let (start, end) = (x + PADDING, x + width - PADDING);
        self.label("name", (start, y + 19.0), &fitted(node.name, left, FONT));
        let count = node.count();
        let room = left - text_width(count.chars().count(), SMALL);
        let kind = fitted(node.kind, room, SMALL);
        let count = match count.as_str() {
            "" => String::new(),
            count => format!(r#"<tspan class="count">{}</tspan>"#, escape(count)),
        };
        let _ = writeln!(
            self.text,
            r#"<text class="small" x="{start}" y="{}">{}{count}</text>"#,
            y + 36.0,
            escape(&kind)
        );
        self.label("end", (end, y + 19.0), node.row.output);
        self.label("small end", (end, y + 36.0), &node.params());
        self.stack(&node.inside, (x + PADDING, y + CARD), width - 2.0 * PADDING);
    }

    /// A bar at the lower edge of a card: its share of the parameters.
    fn share(&mut self, params: usize, (x, bottom): (f64, f64), width: f64) {
        let share = params as f64 / self.n_params.max(1) as f64;
        // Too small a share is still one.
        let long = ((width - 2.0 * PADDING) * share).max(2.0);
        self.rect("share", (x + PADDING, bottom - 4.0), (long, 2.5), 1.25);
    }

    fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), radius: f64) {
        let _ = writeln!(
            self.text,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width:.1}" height="{height:.1}" rx="{radius}"/>"#
        );
    }

    fn label(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        if !text.is_empty() {
            let _ = writeln!(
                self.text,
                r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#,
                escape(text)
            );
        }
    }
}

fn text_width(characters: usize, size: f64) -> f64 {
    characters as f64 * size * CHARACTER
}

/// The text, or as much of it as fits with an ellipsis.
fn fitted(text: &str, room: f64, size: f64) -> String {
    if text_width(text.chars().count(), size) <= room {
        return text.to_owned();
    }
    let fits = (room / (size * CHARACTER)).max(1.0) as usize;
    let start: String = text.chars().take(fits.saturating_sub(1)).collect();
    format!("{start}…")
}

/// Text that means itself in XML; characters that XML does not have are replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(path: &'static str, kind: &'static str, output: &'static str, params: usize) -> LayerRow {
        LayerRow {
            path,
            kind,
            output,
            params,
            flops: 10 * params as u64,
        }
    }

    fn rows() -> Vec<LayerRow> {
        vec![
            row("tok", "Embedding<65, 32>", "[B, T, 32]", 2080),
            row("blocks", "[Block<32>; 4]", "[B, T, 32]", 8448),
            row("blocks.{}.up", "Linear<32, 32>", "[B, T, 32]", 4224),
            row("blocks.{}.down", "[[Linear<32, 32>; 3]; 2]", "[B, T, 32]", 4224),
            row("blocks2", "Relu", "", 0),
        ]
    }

    /// Checks that tags are closed in order and that texts hold no markup; enough of XML for what is written here.
    fn assert_well_formed(svg: &str) {
        let mut open: Vec<String> = Vec::new();
        for piece in svg.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').expect("every tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
            let name: String = tag.chars().take_while(|c| c.is_alphanumeric()).collect();
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(closed), "in {svg}");
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            assert!(!text.contains('>'), "in {text:?}");
            for entity in text.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;", "quot;"];
                assert!(known.iter().any(|known| entity.starts_with(known)), "in {text:?}");
            }
        }
        assert!(open.is_empty(), "{open:?} in {svg}");
    }

    #[test]
    fn arrays_are_drawn_once_with_their_length_and_models_as_frames() {
        let svg = render("Gpt<32>", &rows());
        assert_well_formed(&svg);
        assert_eq!(svg.matches(r#"class="name""#).count(), 5);
        // A frame of an array has another one behind it.
        assert_eq!(svg.matches(r#"class="frame""#).count(), 2);
        assert!(
            svg.contains(r#"Block&lt;32&gt;<tspan class="count"> × 4</tspan>"#),
            "{svg}"
        );
        assert!(
            svg.contains(r#"Linear&lt;32, 32&gt;<tspan class="count"> × 2 × 3</tspan>"#),
            "{svg}"
        );
        assert!(
            svg.contains("10,528 parameters, 105,280 FLOPs per sample"),
            "{svg}"
        );
        assert!(svg.contains("Gpt&lt;32&gt;"));
        assert_eq!(svg, render("Gpt<32>", &rows()));
    }

    #[test]
    fn cards_lie_inside_of_the_page_and_not_upon_each_other() {
        let nodes = tree(&rows()).len();
        assert_eq!(nodes, 3, "`blocks2` is not inside of `blocks`");
        let svg = render("Net", &rows());
        let number = |line: &str, name: &str| -> f64 {
            let rest = line.split(&format!(" {name}=\"")).nth(1).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let page = svg.lines().find(|line| line.contains(r#"class="page""#)).unwrap();
        let (mut top, mut bottom) = (0.0_f64, 0.0);
        for card in svg
            .lines()
            .filter(|line| line.contains(r#"class="card""#) || line.contains(r#"class="bare""#))
        {
            let (x, y) = (number(card, "x"), number(card, "y"));
            assert!(x >= PADDING && x + number(card, "width") <= number(page, "width"));
            // The two cards of an array lie upon each other.
            assert!(y >= bottom || (y - top).abs() <= BEHIND, "{svg}");
            top = y;
            bottom = y + number(card, "height");
            assert!(bottom <= number(page, "height"));
        }
    }

    #[test]
    fn a_model_without_layers_has_a_title() {
        let svg = render("Empty", &[]);
        assert_well_formed(&svg);
        assert!(svg.contains(">Empty</text>"));
    }

    proptest! {
        #[test]
        fn any_names_give_valid_xml(model in ".{0,40}", name in ".{0,200}", kind in ".{0,60}", output in "\\PC{0,20}") {
            let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
            let svg = render(&model, &[row(leak(name), leak(kind), leak(output), 1)]);
            assert_well_formed(&svg);
        }
    }
}
