//! Errors for people: what happened, and below it why, on one line.

use std::error::Error;

/// An error with its causes, outermost first, joined by colons. A layer that only repeats its cause is said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("cannot open the journal")]
        Outer(#[source] io::Error),
        #[error(transparent)]
        Transparent(#[from] io::Error),
    }

    #[test]
    fn every_cause_is_said_once() {
        assert_eq!(chain(&Layer::Outer(io::Error::other("disk full"))), "cannot open the journal: disk full");
        assert_eq!(chain(&Layer::Transparent(io::Error::other("disk full"))), "disk full");
    }
}
