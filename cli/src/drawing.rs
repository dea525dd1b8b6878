//! Steps drawn as a picture, in this process and without a program's help: [`svg`]. Rows are as deep as what a step needs, the order in a
//! row keeps lines from crossing, and a need that another one implies is not drawn.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::IntoNeighbors;

/// What a step is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It only reads.
    Reads,
    /// It writes.
    Writes,
    /// It destroys something.
    Destroys,
    /// It does not run.
    Left,
}

/// A step in the picture.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    /// Its name.
    pub(crate) title: String,
    /// The smaller words below it.
    pub(crate) under: String,
    pub(crate) class: Class,
    /// Whether that it runs is known only during the run.
    pub(crate) open: bool,
    /// Whether it comes after all others.
    pub(crate) last: bool,
    /// The steps that it needs, by their places.
    pub(crate) needs: Vec<usize>,
}

/// Pixels.
const HEIGHT: f64 = 44.0;
const GAP: f64 = 26.0;
const BETWEEN_ROWS: f64 = 46.0;
/// How wide a letter of the title is, of a common font, and of the words below.
const LETTER: f64 = 7.6;
const SMALL_LETTER: f64 = 5.8;
/// How wide the way of a line is that passes a row.
const PASSAGE: f64 = 10.0;
/// How often rows are sorted and moved.
const ROUNDS: usize = 12;
/// Of more steps, needs that others imply are drawn too.
const MOST_REDUCED: usize = 2_000;

/// A place in a row: a step, or a line on its way through.
struct Place {
    row: usize,
    width: f64,
    x: f64,
}

type Graph = DiGraph<Place, usize>;

/// The picture, as a whole SVG document.
pub(crate) fn svg(steps: &[Drawn]) -> String {
    let (mut graph, lines) = placed(steps);
    let mut rows: Vec<Vec<NodeIndex>> = Vec::new();
    for node in graph.node_indices() {
        let row = graph[node].row;
        rows.resize_with(rows.len().max(row + 1), Vec::new);
        rows[row].push(node);
    }
    sort(&graph, &mut rows);
    spread(&mut graph, &rows);
    let right = graph.node_weights().map(|place| place.x + place.width / 2.0).fold(0.0, f64::max) + GAP;
    let bottom = GAP + rows.len() as f64 * (HEIGHT + BETWEEN_ROWS) - BETWEEN_ROWS + GAP;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {right:.0} {bottom:.0}\" width=\"{right:.0}\" height=\"{bottom:.0}\" \
         font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    lines.iter().for_each(|line| text.push_str(&path(&graph, line)));
    for (step, node) in steps.iter().zip(graph.node_indices()) {
        text.push_str(&drawn(step, &graph[node]));
    }
    text + "</svg>\n"
}

/// Every step and every passage in its row, and the lines from step to step through their passages.
fn placed(steps: &[Drawn]) -> (Graph, Vec<Vec<NodeIndex>>) {
    let rows = rows_of(steps);
    let mut graph = Graph::new();
    let nodes: Vec<NodeIndex> = steps
        .iter()
        .zip(&rows)
        .map(|(step, row)| graph.add_node(Place { row: *row, width: width(step), x: 0.0 }))
        .collect();
    let mut lines = Vec::new();
    for (from, to) in edges(steps) {
        let mut line = vec![nodes[from]];
        for row in rows[from] + 1..rows[to] {
            line.push(graph.add_node(Place { row, width: PASSAGE, x: 0.0 }));
        }
        line.push(nodes[to]);
        for pair in line.windows(2) {
            graph.add_edge(pair[0], pair[1], 0);
        }
        lines.push(line);
    }
    (graph, lines)
}

fn width(step: &Drawn) -> f64 {
    let title = step.title.chars().count() as f64 * LETTER;
    let under = step.under.chars().count() as f64 * SMALL_LETTER;
    (title.max(under) + 24.0).max(120.0)
}

/// Each step one row below the lowest that it needs; the last ones below all others.
fn rows_of(steps: &[Drawn]) -> Vec<usize> {
    let mut rows = vec![0; steps.len()];
    for _ in 0..steps.len() {
        let mut changed = false;
        for (at, step) in steps.iter().enumerate() {
            let row = step.needs.iter().map(|need| rows[*need] + 1).max().unwrap_or(0);
            changed |= row > rows[at];
            rows[at] = row.max(rows[at]);
        }
        if !changed {
            break;
        }
    }
    // What needs nothing stands just above the first that needs it.
    let mut first: Vec<Option<usize>> = vec![None; steps.len()];
    for (step, row) in steps.iter().zip(&rows) {
        for need in &step.needs {
            first[*need] = Some(first[*need].map_or(*row, |first| first.min(*row)));
        }
    }
    for ((step, row), first) in steps.iter().zip(&mut rows).zip(first) {
        if let (true, Some(first)) = (step.needs.is_empty(), first) {
            *row = first.saturating_sub(1);
        }
    }
    let body = steps.iter().zip(&rows).filter(|(step, _)| !step.last).map(|(_, row)| row + 1).max();
    let body = body.unwrap_or(0);
    steps.iter().zip(rows).map(|(step, row)| if step.last { row + body } else { row }).collect()
}

/// The needs without those that others imply.
fn edges(steps: &[Drawn]) -> Vec<(usize, usize)> {
    let all =
        || steps.iter().enumerate().flat_map(|(at, step)| step.needs.iter().map(move |need| (*need, at)));
    if steps.len() > MOST_REDUCED {
        return all().collect();
    }
    let mut graph = DiGraph::<(), (), usize>::default();
    for _ in steps {
        graph.add_node(());
    }
    for (from, to) in all() {
        graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
    }
    let Ok(order) = petgraph::algo::toposort(&graph, None) else { return all().collect() };
    let (sorted, places) = petgraph::algo::tred::dag_to_toposorted_adjacency_list::<_, usize>(&graph, &order);
    let (reduced, _) = petgraph::algo::tred::dag_transitive_reduction_closure(&sorted);
    all().filter(|(from, to)| reduced.neighbors(places[*from]).any(|next| next == places[*to])).collect()
}

/// Puts each row into the order of what its places hang on, from above and from below in turn.
fn sort(graph: &Graph, rows: &mut [Vec<NodeIndex>]) {
    let mut at = vec![0.0; graph.node_count()];
    let number = |row: &[NodeIndex], at: &mut Vec<f64>| {
        for (place, node) in row.iter().enumerate() {
            at[node.index()] = (place as f64 + 0.5) / row.len() as f64;
        }
    };
    rows.iter().for_each(|row| number(row, &mut at));
    for round in 0..ROUNDS {
        let (down, count) = (round % 2 == 0, rows.len());
        for step in 0..count {
            let row = &mut rows[if down { step } else { count - 1 - step }];
            let side = if down { Direction::Incoming } else { Direction::Outgoing };
            let key = |node: &NodeIndex| mean(graph, *node, side, &at).unwrap_or(at[node.index()]);
            row.sort_by(|one, other| key(one).total_cmp(&key(other)));
            number(row, &mut at);
        }
    }
}

/// The middle of what a place hangs on.
fn mean(graph: &Graph, node: NodeIndex, side: Direction, at: &[f64]) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for neighbor in graph.neighbors_directed(node, side) {
        sum += at[neighbor.index()];
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// Moves each place below and above what it hangs on, as far as its neighbours in the row let it.
fn spread(graph: &mut Graph, rows: &[Vec<NodeIndex>]) {
    let mut wanted = vec![0.0; graph.node_count()];
    for row in rows {
        let all: f64 = row.iter().map(|node| graph[*node].width + GAP).sum();
        let mut left = -all / 2.0;
        for node in row {
            wanted[node.index()] = left + graph[*node].width / 2.0;
            left += graph[*node].width + GAP;
        }
    }
    for round in 0..ROUNDS {
        for row in rows {
            settle(graph, row, &wanted);
        }
        let at: Vec<f64> = graph.node_weights().map(|place| place.x).collect();
        let side = if round % 2 == 0 { Direction::Incoming } else { Direction::Outgoing };
        for node in graph.node_indices() {
            let other = mean(graph, node, side.opposite(), &at);
            wanted[node.index()] = mean(graph, node, side, &at).or(other).unwrap_or(at[node.index()]);
        }
    }
    rows.iter().for_each(|row| settle(graph, row, &wanted));
    let left = graph.node_weights().map(|place| place.x - place.width / 2.0).fold(f64::INFINITY, f64::min);
    graph.node_weights_mut().for_each(|place| place.x += GAP - left);
}

/// Places a row as it is wanted, in its order and without one lying on another: halfway between all pushed to the right and all to the left.
fn settle(graph: &mut Graph, row: &[NodeIndex], wanted: &[f64]) {
    let apart =
        |graph: &Graph, one: NodeIndex, other: NodeIndex| (graph[one].width + graph[other].width) / 2.0 + GAP;
    let mut right: Vec<f64> = row.iter().map(|node| wanted[node.index()]).collect();
    let mut left = right.clone();
    for at in 1..row.len() {
        right[at] = right[at].max(right[at - 1] + apart(graph, row[at - 1], row[at]));
        let at = row.len() - 1 - at;
        left[at] = left[at].min(left[at + 1] - apart(graph, row[at], row[at + 1]));
    }
    for ((node, right), left) in row.iter().zip(right).zip(left) {
        graph[*node].x = (right + left) / 2.0;
    }
}

fn top(place: &Place) -> f64 {
    GAP + place.row as f64 * (HEIGHT + BETWEEN_ROWS)
}

/// A line from one step to another, bent between rows alone.
fn path(graph: &Graph, line: &[NodeIndex]) -> String {
    let mut text = String::from("<path fill=\"none\" stroke=\"#8a94a0\" d=\"");
    for (at, pair) in line.windows(2).enumerate() {
        let (from, to) = (&graph[pair[0]], &graph[pair[1]]);
        let (y1, y2) = (top(from) + HEIGHT, top(to));
        let middle = (y1 + y2) / 2.0;
        if at == 0 {
            text.push_str(&format!("M{:.1} {y1:.1}", from.x));
        } else {
            text.push_str(&format!(" L{:.1} {y1:.1}", from.x));
        }
        text.push_str(&format!(" C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {y2:.1}", from.x, to.x, to.x));
    }
    text + "\"/>\n"
}

fn drawn(step: &Drawn, place: &Place) -> String {
    let (fill, stroke) = match step.class {
        Class::Reads => ("#f2f4f6", "#5d6b7a"),
        Class::Writes => ("#e3eefb", "#2b5d94"),
        Class::Destroys => ("#fbe1de", "#a3271b"),
        Class::Left => ("#ffffff", "#b5bcc4"),
    };
    let ink = if step.class == Class::Left { "#8a94a0" } else { "#16202b" };
    let dashes = if step.open { " stroke-dasharray=\"5 3\"" } else { "" };
    let round = if step.last { 20 } else { 4 };
    let (left, top) = (place.x - place.width / 2.0, top(place));
    format!(
        "<g><title>{title}: {under}</title><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" rx=\"{round}\" fill=\"{fill}\" \
         stroke=\"{stroke}\"{dashes}/>\n<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"13\" text-anchor=\"middle\" fill=\"{ink}\">{title}</text>\n\
         <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"10\" text-anchor=\"middle\" fill=\"#56626f\">{under}</text></g>\n",
        place.width,
        top + 19.0,
        top + 35.0,
        x = place.x,
        title = escaped(&step.title),
        under = escaped(&step.under),
    )
}

/// Text in which XML and HTML find nothing to do.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(title: &str, needs: &[usize]) -> Drawn {
        Drawn {
            title: title.to_owned(),
            under: "kind".to_owned(),
            class: Class::Reads,
            open: false,
            last: false,
            needs: needs.to_vec(),
        }
    }

    /// The rectangles of the steps: left, top, width.
    fn boxes(text: &str) -> Vec<[f64; 3]> {
        let number = |part: &str, name: &str| -> f64 {
            let from = part.find(name).unwrap() + name.len();
            part[from..].split('"').next().unwrap().parse().unwrap()
        };
        text.split("<g>")
            .skip(1)
            .map(|part| [number(part, " x=\""), number(part, " y=\""), number(part, " width=\"")])
            .collect()
    }

    #[test]
    fn no_box_lies_on_another_and_all_are_in_the_picture() {
        // A wide plan of 60 steps with needs over several rows.
        let mut steps: Vec<Drawn> = Vec::new();
        for at in 0..60_usize {
            let needs: Vec<usize> =
                [at.checked_sub(7), at.checked_sub(13), at.checked_sub(29)].into_iter().flatten().collect();
            steps.push(step(&format!("step_{}", "x".repeat(at % 50)), &needs));
        }
        steps.push(Drawn { last: true, ..step("tidy", &[]) });
        let text = svg(&steps);
        let boxes = boxes(&text);
        assert_eq!(boxes.len(), 61);
        for (at, one) in boxes.iter().enumerate() {
            assert!(one[0] >= 0.0 && one[1] >= 0.0, "{one:?}");
            for other in &boxes[at + 1..] {
                let apart = one[1] != other[1] || one[0] + one[2] < other[0] || other[0] + other[2] < one[0];
                assert!(apart, "{one:?} {other:?}");
            }
        }
        let lowest = boxes.iter().map(|one| one[1]).fold(0.0, f64::max);
        assert_eq!(boxes[60][1], lowest, "what comes last stands last");
    }

    #[test]
    fn an_implied_need_is_not_drawn() {
        let steps = [step("a", &[]), step("b", &[0]), step("c", &[0, 1])];
        assert_eq!(edges(&steps), [(0, 1), (1, 2)]);
        assert_eq!(svg(&steps).matches("<path").count(), 2);
        assert!(svg(&[]).ends_with("</svg>\n"));
    }

    #[test]
    fn names_say_nothing_to_xml() {
        assert_eq!(escaped("<a & \"b\">\u{7}"), "&lt;a &amp; &quot;b&quot;&gt;\u{fffd}");
    }
}
