//! Which step waits for which: [`Graph`], with its circles, an order to show it in, and the question who comes before whom.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

use petgraph::Direction;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// The needs of all steps. Steps are numbered in written order; an edge leads from a step to one that needs it.
#[derive(Debug)]
pub struct Graph {
    edges: DiGraph<(), ()>,
}

impl Graph {
    /// The graph of these needs: `needs[step]` are the steps that it waits for. Numbers of no step are passed over.
    pub fn of(needs: &[Vec<usize>]) -> Self {
        let mut edges = DiGraph::with_capacity(needs.len(), needs.iter().map(Vec::len).sum());
        for _ in needs {
            edges.add_node(());
        }
        for (step, needed) in needs.iter().enumerate() {
            for &needed in needed.iter().filter(|needed| **needed < needs.len()) {
                edges.add_edge(NodeIndex::new(needed), NodeIndex::new(step), ());
            }
        }
        Self { edges }
    }

    /// One circle for each knot of steps that need each other, a step that needs itself included: the steps in the order in which each
    /// needs the next, beginning with the first in written order. By that first step.
    pub fn circles(&self) -> Vec<Vec<usize>> {
        let mut circles: Vec<Vec<usize>> = kosaraju_scc(&self.edges)
            .into_iter()
            .filter_map(|knot| {
                let first = *knot.iter().min()?;
                let looped = knot.len() > 1 || self.edges.contains_edge(first, first);
                looped.then(|| self.circle_from(first, &knot))
            })
            .collect();
        circles.sort_unstable();
        circles
    }

    /// The shortest circle through `first`, within its knot.
    fn circle_from(&self, first: NodeIndex, knot: &[NodeIndex]) -> Vec<usize> {
        // Walking from the step to what it needs, each reached step remembers the one that needs it.
        let inside: HashSet<_> = knot.iter().copied().collect();
        let mut needed_by: HashMap<NodeIndex, NodeIndex> = HashMap::new();
        let mut queue = VecDeque::from([first]);
        while let Some(step) = queue.pop_front() {
            let mut needed: Vec<_> = self
                .edges
                .neighbors_directed(step, Direction::Incoming)
                .filter(|step| inside.contains(step))
                .collect();
            needed.sort_unstable();
            for next in needed {
                if next == first {
                    let mut circle = vec![step.index()];
                    let mut at = step;
                    while at != first {
                        at = needed_by[&at];
                        circle.push(at.index());
                    }
                    circle.reverse();
                    return circle;
                }
                if let Entry::Vacant(unseen) = needed_by.entry(next) {
                    unseen.insert(step);
                    queue.push_back(next);
                }
            }
        }
        vec![first.index()]
    }

    /// All steps, each after those that it needs; among those that could come next, the first in written order. Steps in or behind a
    /// circle are left out.
    pub fn order(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> = self
            .edges
            .node_indices()
            .map(|step| self.edges.edges_directed(step, Direction::Incoming).count())
            .collect();
        let mut ready: BinaryHeap<Reverse<usize>> = waiting
            .iter()
            .enumerate()
            .filter(|(_, count)| **count == 0)
            .map(|(step, _)| Reverse(step))
            .collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(Reverse(step)) = ready.pop() {
            order.push(step);
            for next in self.edges.neighbors(NodeIndex::new(step)) {
                waiting[next.index()] -= 1;
                if waiting[next.index()] == 0 {
                    ready.push(Reverse(next.index()));
                }
            }
        }
        order
    }

    /// For each `(step, other)`: whether `step` needs `other`, directly or through others. The graph must be free of circles.
    ///
    /// Asked in batches of 64 different `other`s, each one pass over the whole graph, so that 50,000 steps that all ask about far
    /// ancestors stay cheap in time and memory.
    pub fn needs(&self, questions: &[(usize, usize)]) -> Vec<bool> {
        let order = self.order();
        let mut others: Vec<usize> = questions.iter().map(|(_, other)| *other).collect();
        others.sort_unstable();
        others.dedup();
        let mut answers = vec![false; questions.len()];
        let mut by_batch: Vec<Vec<usize>> = vec![Vec::new(); others.len().div_ceil(64)];
        let number = |other: usize| others.binary_search(&other).unwrap_or(0);
        for (ix, (_, other)) in questions.iter().enumerate() {
            by_batch[number(*other) / 64].push(ix);
        }
        for (batch, asked) in others.chunks(64).zip(&by_batch) {
            let before = self.ancestors_among(batch, &order);
            for &ix in asked {
                let (step, other) = questions[ix];
                answers[ix] = before.get(step).is_some_and(|bits| bits >> (number(other) % 64) & 1 == 1);
            }
        }
        answers
    }

    /// For every step, a bit for each of up to 64 steps that says whether it comes before.
    fn ancestors_among(&self, batch: &[usize], order: &[usize]) -> Vec<u64> {
        let mut own = HashMap::new();
        for (bit, step) in batch.iter().enumerate() {
            own.insert(*step, 1_u64 << bit);
        }
        let mut before = vec![0_u64; self.edges.node_count()];
        for &step in order {
            let passed = before[step] | own.get(&step).copied().unwrap_or(0);
            if passed != 0 {
                for next in self.edges.neighbors(NodeIndex::new(step)) {
                    before[next.index()] |= passed;
                }
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_order_breaks_ties() {
        let graph = Graph::of(&[vec![2], vec![], vec![], vec![0, 1]]);
        assert_eq!(graph.order(), [1, 2, 0, 3]);
        assert!(graph.circles().is_empty());
    }

    #[test]
    fn a_circle_is_drawn_from_its_first_step() {
        // 1 needs 3, 3 needs 2, 2 needs 1; 0 stands outside; 4 needs itself.
        let graph = Graph::of(&[vec![], vec![0, 3], vec![1], vec![2], vec![4]]);
        assert_eq!(graph.circles(), [vec![1, 3, 2], vec![4]]);
        assert_eq!(graph.order(), [0]);
        // Of two circles through one step the shorter is drawn.
        let graph = Graph::of(&[vec![1, 2], vec![2], vec![0]]);
        assert_eq!(graph.circles(), [vec![0, 2]]);
    }

    #[test]
    fn needs_are_followed_through_others() {
        // A chain of 200, and one step beside it.
        let mut needs: Vec<Vec<usize>> =
            (0..200).map(|step: usize| step.checked_sub(1).into_iter().collect()).collect();
        needs.push(vec![5]);
        let graph = Graph::of(&needs);
        let questions: Vec<_> = (0..201).flat_map(|step| (0..201).map(move |other| (step, other))).collect();
        for ((step, other), answer) in questions.iter().zip(graph.needs(&questions)) {
            let expected = match (*step, *other) {
                (200, other) => other <= 5,
                (_, 200) => false,
                (step, other) => other < step,
            };
            assert_eq!(answer, expected, "{step} {other}");
        }
    }

    #[test]
    fn long_chains_are_no_matter() {
        let needs: Vec<Vec<usize>> =
            (0..50_000).map(|step: usize| step.checked_sub(1).into_iter().collect()).collect();
        let graph = Graph::of(&needs);
        assert_eq!(graph.order().len(), 50_000);
        assert_eq!(graph.needs(&[(49_999, 0), (0, 49_999)]), [true, false]);
        let mut needs = needs;
        needs[0].push(49_999);
        assert_eq!(Graph::of(&needs).circles().len(), 1);
    }
}
