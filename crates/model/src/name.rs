//! Names that users give to things, checked once at the edge.

use std::{borrow::Borrow, fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest accepted name: an RFC 1123 label, so that every name also fits a Kubernetes object and a DNS label.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("a name has at most {NAME_BYTES_MAX} characters, this one has {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A character outside `a-z A-Z 0-9 - _ .`, or a first or last character that is not a letter or digit.
    #[error(
        "a name consists of letters, digits, `-`, `_` and `.` and begins and ends with a letter or digit; `{found}` is not allowed here"
    )]
    Character {
        /// The first offending character.
        found: char,
    },
}

fn check(text: &str) -> Result<(), NameError> {
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { len: text.len() });
    }
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().next_back()) else {
        return Err(NameError::Empty);
    };
    if let Some(found) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(NameError::Character { found });
    }
    match [first, last].into_iter().find(|c| !c.is_ascii_alphanumeric()) {
        Some(found) => Err(NameError::Character { found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name; see [`NameError`] for what is refused. Cloning the result is cheap.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(Arc::from(text)))
            }

            /// The text as the user wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// A service: something with versions that routes lead to.
    ServiceName
}
name! {
    /// One deployed version of a service, for example `v2`.
    VersionName
}
name! {
    /// A route of the gateway.
    RouteName
}
name! {
    /// A declared rollout of one version over another.
    RolloutName
}
name! {
    /// A service-level objective (an OpenSLO `SLO` document's `metadata.name`).
    ObjectiveName
}
name! {
    /// Where notifications go.
    ReceiverName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_like() {
        for good in ["a", "checkout", "v2.1_rc-1", "A9"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        assert_eq!(ServiceName::new(""), Err(NameError::Empty));
        assert_eq!(ServiceName::new("a b"), Err(NameError::Character { found: ' ' }));
        assert_eq!(ServiceName::new("-a"), Err(NameError::Character { found: '-' }));
        assert_eq!(ServiceName::new(&"x".repeat(64)), Err(NameError::TooLong { len: 64 }));
        assert!(serde_json::from_str::<VersionName>("\"a/b\"").is_err());
    }
}
