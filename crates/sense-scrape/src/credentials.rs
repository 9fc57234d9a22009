//! The `Authorization` header. Its value is marked sensitive, so that no log of the layers below shows it.

use std::{io, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;

use crate::spec::{Credentials, Secret};

/// Bytes of a secret's file; a token of a cluster has about a thousand.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file of a secret cannot be read.
    #[error("the secret in {} cannot be read; check that it exists and that this user may read it", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The secret holds what no header can, a line end for example.
    #[error("the credentials hold characters that a header cannot; check for line ends within them")]
    Characters,
}

/// Makes the header's value; secrets in files are read now.
pub(crate) async fn header_of(credentials: &Credentials) -> Result<HeaderValue, CredentialsError> {
    let text = match credentials {
        Credentials::Basic { user, password } => {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", reveal(password).await?)))
        }
        Credentials::Token { kind, token } => format!("{kind} {}", reveal(token).await?),
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| CredentialsError::Characters)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn reveal(secret: &Secret) -> Result<String, CredentialsError> {
    match secret {
        Secret::Text(text) => Ok(text.clone()),
        Secret::File(file) => {
            let read = |file: PathBuf| move || read_small(&file).map_err(|source| (file, source));
            let text = tokio::task::spawn_blocking(read(file.clone())).await;
            let text = text.unwrap_or_else(|_| Err((file.clone(), io::ErrorKind::Interrupted.into())));
            text.map(|text| text.trim().to_owned()).map_err(|(file, source)| CredentialsError::Read { file, source })
        }
    }
}

fn read_small(file: &std::path::Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(file)?.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credentials_become_a_header_that_is_not_shown() {
        let basic = Credentials::Basic { user: "u".into(), password: Secret::Text("sesame".into()) };
        let header = header_of(&basic).await.unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic dTpzZXNhbWU=");
        assert!(header.is_sensitive() && !format!("{basic:?}").contains("sesame"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, " abc\n").unwrap();
        let token = Credentials::Token { kind: "Bearer".into(), token: Secret::File(file.clone()) };
        assert_eq!(header_of(&token).await.unwrap().to_str().unwrap(), "Bearer abc");
        std::fs::write(&file, "a\nb").unwrap();
        assert!(matches!(header_of(&token).await, Err(CredentialsError::Characters)));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(header_of(&token).await, Err(CredentialsError::Read { .. })));
    }
}
