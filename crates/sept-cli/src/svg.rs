//! The tree by owner as a picture, for light and dark pages.

use sept::Namespace;
use sept::host::Entry;

use crate::ls::Known;
use crate::tree::{self, By, Node};

const ROW: usize = 30;
const STEP: usize = 34;
const LEFT: usize = 24;
const TOP: usize = 64;
const WIDTH: usize = 980;
/// Characters of the words beside a node; what is longer is cut.
const MOST: usize = 84;

const STYLE: &str = "\
svg { background: #fbfbf9; font-family: ui-sans-serif, system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif }
.title { font-size: 19px; font-weight: 600; fill: #20242a }
.sub, .words { font-size: 12.5px; fill: #5b6470 }
.line { stroke: #c6ccd3; stroke-width: 1.4; fill: none }
.name { font-size: 12.5px; font-weight: 600; font-variant-numeric: tabular-nums; fill: #fff }
.user { fill: #35507a } .mnt { fill: #2f7d5b } .pid { fill: #a2472f } .uts { fill: #7a5aa6 }
.ipc { fill: #9a6a12 } .net { fill: #1f7a8c } .cgroup { fill: #6b6f1d } .time { fill: #8a4a78 }
.empty { opacity: .55 }
@media (prefers-color-scheme: dark) {
svg { background: #15181c }
.title { fill: #eef1f4 } .sub, .words { fill: #a4adb8 } .line { stroke: #3a424c }
.user { fill: #4d70a8 } .mnt { fill: #35906a } .pid { fill: #bd5a3f } .uts { fill: #8d6cbd }
.ipc { fill: #b0801f } .net { fill: #2b8ea2 } .cgroup { fill: #80842c } .time { fill: #a05c8c }
}
";

/// Draws what is listed.
pub fn draw(known: &mut Known, listed: &[Entry]) -> String {
    let nodes = tree::nodes(known, listed, By::Owner);
    let height = TOP + nodes.len() * ROW + 24;
    let users = listed.iter().filter(|entry| entry.kind == Namespace::User).count();
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\">\n<title>Namespaces by owner</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\" fill=\"none\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"32\">Namespaces</text>\n\
         <text class=\"sub\" x=\"{LEFT}\" y=\"51\">{} in all, {users} of them user namespaces; each below the one that owns it</text>\n",
        listed.len()
    );
    lines(&nodes, &mut picture);
    for (row, node) in nodes.iter().enumerate() {
        let (name, words) = tree::label(known, &node.entry);
        let (x, y) = (LEFT + node.more.len() * STEP, TOP + row * ROW);
        let wide = 18 + name.len() * 8;
        let class = node.entry.kind.link();
        let faint = if node.entry.processes.is_empty() { " empty" } else { "" };
        picture.push_str(&format!(
            "<g class=\"node{faint}\"><rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"22\" rx=\"11\"/>\
             <text class=\"name\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{name}</text>\
             <text class=\"words\" x=\"{}\" y=\"{}\">{}</text></g>\n",
            x + wide / 2,
            y + 15,
            x + wide + 10,
            y + 15,
            escaped(&cut(&words, MOST.saturating_sub(node.more.len() * 4)))
        ));
    }
    picture.push_str("</svg>\n");
    picture
}

/// From each node up to the middle of the one that it stands below.
fn lines(nodes: &[Node], picture: &mut String) {
    for (row, node) in nodes.iter().enumerate() {
        let depth = node.more.len();
        let Some(up) = nodes[..row].iter().rposition(|other| other.more.len() + 1 == depth) else { continue };
        let x = LEFT + (depth - 1) * STEP + 16;
        let (from, to) = (TOP + up * ROW + 22, TOP + row * ROW + 11);
        picture.push_str(&format!(
            "<path class=\"line\" d=\"M{x} {from} V{} Q{x} {to} {} {to} H{}\"/>\n",
            to - 7,
            x + 7,
            LEFT + depth * STEP
        ));
    }
}

fn cut(words: &str, most: usize) -> String {
    if words.chars().count() <= most {
        return words.to_owned();
    }
    words.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_escaped() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abc", 4), "abc");
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
