//! Samples of one side, counted under keys that other programs have as well.
//!
//! ```text
//! t:NAME   samples with NAME anywhere on the stack      e:A>B   with A calling B, runs of the application as one frame
//! s:NAME   samples in NAME itself                       c:WHAT  with a concept anywhere, C:WHAT in a frame of it
//! a:NAME   samples in a function of the application     A:NAME  with it anywhere, R:NAME as its outermost one (these three
//!          never leave the program)
//! ```
//!
//! Windows stay apart: how much they differ says how much of a difference between sides is noise. They are told by the
//! numeric label `window` of samples, or by coming as profiles of their own.
//!
//! Not here: what frames are (`frame`, `concept`), comparison (`comparison`).
//! Invariant: a key counts a sample at most once, however often it stands on the stack.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use homeostat_model::profile::{LabelSet, LabelValue, Profile, Stack};

use crate::{
    concept::Concept,
    frame::{APPLICATION, Origin, place},
};

/// Windows that are kept apart; later ones are counted into earlier ones in turn. Variance is known well enough from 64.
pub(crate) const WINDOWS_MAX: usize = 64;

/// Label that numbers the windows of one profile.
const WINDOW_LABEL: &str = "window";

/// Keys under which a frame counts, made once a frame.
#[derive(Debug)]
struct Keys {
    collapsed: Arc<str>,
    origin: Origin,
    total: Vec<Arc<str>>,
    own: Vec<Arc<str>>,
    /// For frames of the application.
    root: Option<Arc<str>>,
}

/// Samples of one side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// Samples of each window.
    pub(crate) windows: Vec<f64>,
    /// For each key its samples in each window.
    pub(crate) keys: BTreeMap<Arc<str>, Vec<f64>>,
    /// Windows so far, those included that were counted into earlier ones.
    begun: usize,
}

impl Counted {
    /// Samples in all windows.
    pub(crate) fn samples(&self) -> f64 {
        // The sum of nothing is a zero with a sign.
        self.windows.iter().sum::<f64>() + 0.0
    }

    /// Share of all samples under a key, 0 to 1; 0 without samples.
    pub(crate) fn share(&self, key: &str) -> f64 {
        let samples = self.samples();
        let under: f64 = self.keys.get(key).map_or(0.0, |windows| windows.iter().sum());
        if samples == 0.0 { 0.0 } else { under / samples }
    }

    /// Counts one column of a profile: a window of its own, or as many as its labels tell.
    pub(crate) fn add(&mut self, profile: &Profile, column: usize) {
        let nodes = Nodes::of(profile);
        let first = self.begun;
        let mut windows = HashMap::<LabelSet, usize>::new();
        let mut on_stack = Vec::new();
        for row in profile.rows() {
            let samples = row.values.get(column).copied().unwrap_or(0).max(0) as f64;
            if samples == 0.0 {
                continue;
            }
            let begun = &mut self.begun;
            let window = *windows.entry(row.labels).or_insert_with(|| {
                let at = first + window(profile, row.labels);
                *begun = (*begun).max(at + 1);
                at % WINDOWS_MAX
            });
            if self.windows.len() <= window {
                self.windows.resize(window + 1, 0.0);
            }
            if let Some(sum) = self.windows.get_mut(window) {
                *sum += samples;
            }
            nodes.keys_of(profile, row.stack, &mut on_stack);
            for key in on_stack.drain(..) {
                let counts = self.keys.entry(key).or_default();
                if counts.len() <= window {
                    counts.resize(window + 1, 0.0);
                }
                if let Some(count) = counts.get_mut(window) {
                    *count += samples;
                }
            }
        }
    }
}

/// The window that labels name; the first one otherwise.
fn window(profile: &Profile, labels: LabelSet) -> usize {
    let named = profile.labels(labels).iter().find_map(|(name, value)| match value {
        LabelValue::Number { value, .. } if profile.text(*name) == WINDOW_LABEL => usize::try_from(*value).ok(),
        _ => None,
    });
    named.unwrap_or(0) % WINDOWS_MAX
}

/// For each node of a profile's trie the keys of its innermost frame.
struct Nodes {
    keys: Vec<Keys>,
    /// By node: its entry in `keys`.
    of_node: Vec<usize>,
}

impl Nodes {
    fn of(profile: &Profile) -> Self {
        let stacks = profile.stacks();
        let (mut keys, mut known) = (Vec::<Keys>::new(), HashMap::<(usize, bool), usize>::new());
        let (mut of_node, mut in_kernel) = (vec![usize::MAX; stacks.len()], vec![false; stacks.len()]);
        for node in stacks.iter() {
            let (Some(frame), Some(index)) = (stacks.frame(node), stacks.frame_index(node)) else { continue };
            let below = in_kernel.get(stacks.parent(node).index()).copied().unwrap_or(false);
            let entry = *known.entry((index, below)).or_insert_with(|| {
                let function = profile.text(frame.function);
                keys.push(keys_of(function, profile.text(frame.module), below, || profile.frame_name(frame)));
                keys.len() - 1
            });
            let kernel = keys.get(entry).is_some_and(|keys| keys.origin == Origin::Kernel);
            if let (Some(slot), Some(flag)) = (of_node.get_mut(node.index()), in_kernel.get_mut(node.index())) {
                (*slot, *flag) = (entry, kernel);
            }
        }
        Self { keys, of_node }
    }

    /// All keys of a stack, each once.
    fn keys_of(&self, profile: &Profile, stack: Stack, into: &mut Vec<Arc<str>>) {
        let (stacks, mut at, mut inner) = (profile.stacks(), stack, None::<&Arc<str>>);
        let mut outermost = None;
        while at != Stack::EMPTY {
            if let Some(keys) = self.of_node.get(at.index()).and_then(|entry| self.keys.get(*entry)) {
                into.extend(keys.total.iter().cloned());
                match inner {
                    None => into.extend(keys.own.iter().cloned()),
                    Some(callee) if *callee != keys.collapsed => {
                        into.push(format!("e:{}>{callee}", keys.collapsed).into());
                    }
                    Some(_) => {}
                }
                inner = Some(&keys.collapsed);
                outermost = keys.root.as_ref().or(outermost);
            }
            at = stacks.parent(at);
        }
        into.extend(outermost.cloned());
        into.sort_unstable();
        into.dedup();
    }
}

fn keys_of(function: &str, module: &str, in_kernel: bool, shown: impl FnOnce() -> String) -> Keys {
    let place = place(function, module, in_kernel);
    let mut keys = Keys {
        total: vec![format!("t:{}", place.name).into()],
        own: vec![format!("s:{}", place.name).into()],
        origin: place.origin,
        root: None,
        collapsed: place.name.as_str().into(),
    };
    if place.origin == Origin::Application {
        let shown = shown();
        keys.total.push(format!("A:{shown}").into());
        keys.own.push(format!("a:{shown}").into());
        keys.root = Some(format!("R:{shown}").into());
    } else {
        for concept in Concept::of(&place.name) {
            keys.total.push(format!("c:{}", concept.name()).into());
            keys.own.push(format!("C:{}", concept.name()).into());
        }
    }
    debug_assert!(place.origin != Origin::Application || &*keys.collapsed == APPLICATION);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{folded, profile};

    #[test]
    fn later_windows_are_counted_into_earlier_ones_in_turn() {
        let one = profile("main.f 1");
        let mut counted = Counted::default();
        (0..130).for_each(|_| counted.add(&one, 0));
        assert_eq!(counted.windows, [vec![3.0; 2], vec![2.0; 62]].concat());
        assert_eq!(counted.keys["a:main.f"], counted.windows);
        // Windows of one profile are as many as its labels tell.
        let three = profile("main.f 1@0\nmain.f 1@1\nmain.f 1@2");
        let mut counted = Counted::default();
        (0..2).for_each(|_| counted.add(&three, 0));
        assert_eq!(counted.windows, [1.0; 6]);
    }

    #[test]
    fn keys_count_a_sample_once_and_the_application_is_one_frame() {
        let counted = folded(
            "main.serve;main.handle;main.work;runtime.mallocgc 3
             main.serve;main.handle;encoding/json.Marshal;main.(*T).MarshalJSON;encoding/json.Marshal 1",
        );
        for (key, share) in [
            ("t:<app>", 1.0),
            ("s:<app>", 0.0),
            ("e:<app>>runtime.mallocgc", 0.75),
            ("e:<app>>encoding/json.Marshal", 0.25),
            ("e:encoding/json.Marshal><app>", 0.25),
            ("t:encoding/json.Marshal", 0.25),
            ("s:encoding/json.Marshal", 0.25),
            ("c:allocate", 0.75),
            ("C:serialise", 0.25),
            ("A:main.handle", 1.0),
            ("a:main.work", 0.0),
        ] {
            assert!((counted.share(key) - share).abs() < 1e-12, "{key}: {}", counted.share(key));
        }
    }

    #[test]
    fn below_an_entry_everything_is_the_kernels() {
        let counted = folded("main.f;write;entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_write;vfs_write 1");
        assert!(counted.keys.contains_key("s:vfs_write"), "{:?}", counted.keys.keys());
        assert!((counted.share("s:<app>")).abs() < 1e-12);
    }
}
