//! Who may learn from whom: each split asks every episode with a library that the split allows.

use homeostat_explain_profile::{Case, Index, Library, Outcome, Signs, explain_with};

use super::{
    corpus::Episode,
    score::{Class, Item},
};

/// Which half of the method speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Both,
    Detectors,
    Cases,
}

/// What an episode may not see of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// Only itself: the same program was seen with the same fault in other runs.
    Itself,
    /// Everything of its program.
    ItsProgram,
}

/// Asks each of `asked` with cases of `known` that are not hidden from it.
pub(super) fn ask(asked: &[&Episode], known: &[&Episode], hidden: Hidden, method: Method) -> Vec<Item> {
    let cases: Vec<Case> = known.iter().filter_map(|episode| episode.case()).collect();
    asked
        .iter()
        .map(|episode| {
            let own = format!("{}/{}", episode.program, episode.id);
            let visible = cases.iter().filter(|case| match hidden {
                Hidden::Itself => case.id != own,
                Hidden::ItsProgram => case.program != episode.program,
            });
            item(episode, &Index::new(visible.filter(|_| method != Method::Detectors)), method)
        })
        .collect()
}

/// Asks with a library that is given.
pub(super) fn ask_library(asked: &[&Episode], library: &Library) -> Vec<Item> {
    let index = Index::of(library);
    asked.iter().map(|episode| item(episode, &index, Method::Both)).collect()
}

/// The same cases with labels dealt out anew: what is right by chance.
pub(super) fn shuffled(asked: &[&Episode], known: &[&Episode], deal: &dyn Fn(&mut Vec<String>)) -> Vec<Item> {
    let mut cases: Vec<Case> = known.iter().filter_map(|episode| episode.case()).collect();
    let mut labels: Vec<String> = cases.iter().map(|case| case.pattern.clone()).collect();
    deal(&mut labels);
    for (case, label) in cases.iter_mut().zip(labels) {
        case.pattern = label;
    }
    asked
        .iter()
        .map(|episode| {
            let others = cases.iter().filter(|case| case.program != episode.program);
            item(episode, &Index::new(others), Method::Cases)
        })
        .collect()
}

fn item(episode: &Episode, index: &Index<'_>, method: Method) -> Item {
    let silent;
    let signs = if method == Method::Cases {
        silent = Signs { findings: Vec::new(), ..episode.signs.clone() };
        &silent
    } else {
        &episode.signs
    };
    let explained = explain_with(signs, index);
    let said = explained.patterns.iter().map(|named| (named.pattern.clone(), named.score)).collect();
    said_of(episode, if explained.outcome == Outcome::Named { said } else { Vec::new() })
}

/// An episode with what somebody said about it.
pub(super) fn said_of(episode: &Episode, said: Vec<(String, f64)>) -> Item {
    Item {
        id: episode.id.clone(),
        program: episode.program.clone(),
        class: class(episode),
        truth: episode.faults.clone(),
        detail: episode.detail.clone(),
        seconds: episode.seconds,
        said,
    }
}

fn class(episode: &Episode) -> Class {
    use super::corpus::Kind;
    match episode.kind {
        Kind::Normal => Class::Normal,
        Kind::Benign => Class::Benign,
        Kind::Unknown => Class::Unknown,
        _ if episode.is_fault() => Class::Fault,
        _ => Class::NoEffect,
    }
}
