//! Who we are to a server: [`Login`]. What only one system can do stands here with its twin.

use serde::Deserialize;
use tiberius::AuthMethod;

/// By which proof the server knows us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Proof {
    /// A SQL login and its password.
    #[default]
    Sql,
    /// A domain user and its password.
    Windows,
    /// Whoever runs us.
    Integrated,
    /// An access token.
    Token,
}

/// Who we are. It never prints: it holds secrets.
#[derive(Clone)]
pub(super) enum Login {
    /// A SQL login.
    Sql { user: String, password: String },
    /// A domain user.
    Windows { user: String, password: String },
    /// Whoever runs us.
    Integrated,
    /// The bearer of a token.
    Token(String),
}

impl Login {
    /// The login that settings tell.
    ///
    /// # Errors
    /// In words, what is missing, what is too much, or what this build cannot do.
    pub(super) fn of(
        proof: Proof,
        user: Option<String>,
        password: Option<String>,
        token: Option<String>,
    ) -> Result<Self, String> {
        let login = match (proof, user, password, token) {
            (Proof::Sql, Some(user), Some(password), None) => Self::Sql { user, password },
            (Proof::Windows, Some(user), Some(password), None) => Self::Windows { user, password },
            (Proof::Integrated, None, None, None) => Self::Integrated,
            (Proof::Token, None, None, Some(token)) => Self::Token(token),
            (Proof::Sql, ..) => return Err("a SQL login is `user` and `password`, and no `token`".into()),
            (Proof::Windows, ..) => {
                return Err("`auth: windows` is `user` and `password`, and no `token`".into());
            }
            (Proof::Integrated, ..) => {
                return Err(
                    "`auth: integrated` is whoever runs Drydock: no `user`, `password` or `token`".into()
                );
            }
            (Proof::Token, ..) => {
                return Err("`auth: token` is a `token`, and no `user` or `password`".into());
            }
        };
        login.method()?;
        Ok(login)
    }

    /// For the library that speaks the protocol.
    ///
    /// # Errors
    /// In words, what this build cannot do.
    pub(super) fn method(&self) -> Result<AuthMethod, String> {
        match self {
            Self::Sql { user, password } => Ok(AuthMethod::sql_server(user, password)),
            Self::Windows { user, password } => windows(user, password),
            Self::Integrated => integrated(),
            Self::Token(token) => Ok(AuthMethod::aad_token(token)),
        }
    }

    /// The keys of an ADO.NET connection string, with their secrets; nothing where such a string holds no such login.
    pub(super) fn ado_net(&self) -> Option<Vec<(&'static str, String)>> {
        match self {
            Self::Sql { user, password } => {
                Some(vec![("User ID", user.clone()), ("Password", password.clone())])
            }
            Self::Integrated => Some(vec![("Integrated Security", "True".into())]),
            Self::Windows { .. } | Self::Token(_) => None,
        }
    }
}

#[cfg(windows)]
fn windows(user: &str, password: &str) -> Result<AuthMethod, String> {
    Ok(AuthMethod::windows(user, password))
}

#[cfg(not(windows))]
fn windows(_user: &str, _password: &str) -> Result<AuthMethod, String> {
    Err("`auth: windows` works on Windows alone; use a SQL login, or `auth: integrated` with a Kerberos ticket".into())
}

#[cfg(any(windows, all(unix, feature = "kerberos")))]
fn integrated() -> Result<AuthMethod, String> {
    Ok(AuthMethod::Integrated)
}

#[cfg(not(any(windows, all(unix, feature = "kerberos"))))]
fn integrated() -> Result<AuthMethod, String> {
    Err("this build knows no Kerberos: build Drydock with `--features kerberos`, which needs the system's GSSAPI library".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proof_takes_what_is_its_own() {
        let some = |is: bool, text: &str| is.then(|| text.to_owned());
        let of = |proof, user, password, token| {
            Login::of(proof, some(user, "u"), some(password, "p"), some(token, "t"))
        };
        assert!(
            matches!(of(Proof::Sql, true, true, false), Ok(Login::Sql { user, password }) if user == "u" && password == "p")
        );
        assert!(matches!(of(Proof::Token, false, false, true), Ok(Login::Token(token)) if token == "t"));
        for (proof, user, password, token, words) in [
            (Proof::Sql, true, false, false, "a SQL login is `user` and `password`"),
            (Proof::Sql, true, true, true, "and no `token`"),
            (Proof::Windows, false, true, false, "`auth: windows` is `user` and `password`"),
            (Proof::Integrated, true, false, false, "whoever runs Drydock"),
            (Proof::Token, true, false, true, "`auth: token` is a `token`"),
        ] {
            let error = of(proof, user, password, token).err().unwrap();
            assert!(error.contains(words), "{error}");
        }
        #[cfg(not(windows))]
        assert!(of(Proof::Windows, true, true, false).err().unwrap().contains("on Windows alone"));
        #[cfg(all(not(windows), not(feature = "kerberos")))]
        assert!(of(Proof::Integrated, false, false, false).err().unwrap().contains("--features kerberos"));
    }

    #[test]
    fn a_connection_string_holds_some_logins() {
        let sql = Login::Sql { user: "u".into(), password: "p".into() };
        assert_eq!(sql.ado_net().unwrap(), [("User ID", "u".to_owned()), ("Password", "p".to_owned())]);
        assert_eq!(Login::Integrated.ado_net().unwrap(), [("Integrated Security", "True".to_owned())]);
        assert_eq!(Login::Token("t".into()).ado_net(), None);
    }
}
