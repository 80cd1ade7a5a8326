//! Breadth first through every state that can be reached: so a counterexample is a shortest one.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem::{Discriminant, discriminant},
};

use crate::{protocol::Protocol, rules::Rule, state::State, step::Step};

/// More than this and the faults of a scenario are too many.
const MOST: usize = 3_000_000;

/// What was found.
pub struct Explored {
    pub states: usize,
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// The kinds of steps that were taken.
    pub kinds: HashSet<Discriminant<Step>>,
    pub broken: Option<Counterexample>,
    /// Some way leads back to where it was: then it might never come to an end.
    pub is_circular: bool,
}

/// The shortest way to where a rule does not hold.
pub struct Counterexample {
    pub rule: Rule,
    pub steps: Vec<Step>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{:?} does not hold after {} steps:\n", self.rule, self.steps.len());
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(text, "  {:2}. {step}", number + 1)?;
        }
        f.write_str(&text)
    }
}

/// How a state was reached first.
struct Reached {
    from: u32,
    step: Option<Step>,
}

/// Sixty-four bits stand for a state: among a million, two that are taken for one come once in thirty million runs.
fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Goes through all states of the protocol until one of the rules does not hold, or none is left.
pub fn explore(protocol: &Protocol, rules: &[Rule]) -> Explored {
    let start = protocol.start();
    let mut known = HashMap::from([(fingerprint(&start), 0)]);
    let mut reached = vec![Reached { from: 0, step: None }];
    let mut layer = vec![(0, start)];
    let mut edges = Vec::new();
    let mut kinds = HashSet::new();
    let mut depth = 0;
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (index, state) in layer {
            let steps = protocol.steps(&state);
            let is_over = !steps.iter().any(|(step, _)| step.goes_on());
            if let Some(rule) = rules.iter().find(|rule| !rule.holds(&state, is_over, protocol)) {
                let broken = Some(Counterexample { rule: *rule, steps: way_to(&reached, index) });
                let (states, steps) = (reached.len(), edges.len());
                return Explored { states, steps, depth, kinds, broken, is_circular: false };
            }
            for (step, to) in steps {
                kinds.insert(discriminant(&step));
                let new = reached.len() as u32;
                let to = match known.entry(fingerprint(&to)) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        reached.push(Reached { from: index, step: Some(step) });
                        next.push((new, to));
                        *entry.insert(new)
                    }
                };
                edges.push((index, to));
            }
            assert!(reached.len() < MOST, "more than {MOST} states: allow fewer faults");
        }
        layer = next;
        depth += 1;
    }
    let is_circular = is_circular(reached.len(), &edges);
    Explored { states: reached.len(), steps: edges.len(), depth, kinds, broken: None, is_circular }
}

fn way_to(reached: &[Reached], mut index: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Reached { from, step: Some(step) } = &reached[index as usize] {
        steps.push(*step);
        index = *from;
    }
    steps.reverse();
    steps
}

/// Whether a way leads back to where it was. `edges` are in the order of where they begin.
fn is_circular(states: usize, edges: &[(u32, u32)]) -> bool {
    let mut leading_to = vec![0_u32; states];
    let mut first = vec![0_usize; states + 1];
    for (from, to) in edges {
        leading_to[*to as usize] += 1;
        first[*from as usize + 1] += 1;
    }
    for state in 0..states {
        first[state + 1] += first[state];
    }
    // Takes away what nothing leads to, again and again: what is left then leads to itself.
    let mut free: Vec<usize> = (0..states).filter(|state| leading_to[*state] == 0).collect();
    let mut taken = 0;
    while let Some(state) = free.pop() {
        taken += 1;
        for (_, to) in &edges[first[state]..first[state + 1]] {
            leading_to[*to as usize] -= 1;
            if leading_to[*to as usize] == 0 {
                free.push(*to as usize);
            }
        }
    }
    taken < states
}
