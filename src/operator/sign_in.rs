//! Signing in: whose password it is, how often somebody may try, and the session that begins.
//!
//! Tries are counted before the password is looked at, and taken back where it is right, so that
//! tries side by side count too. They are counted for a name from a network, for a network and for
//! a name: a stranger who tries a name cannot keep its owner out, unless they come from everywhere.

use std::net::IpAddr;

use ipnet::IpNet;

use super::password::{self, PasswordError};
use super::user_name;
use crate::model::access::{Password, SecretPrint, SessionId, SessionText, UserId};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{Limit, clean};
use crate::model::secret::{NoRandom, random_secret};
use crate::store::sessions::{Limits, NewSession, Visit};
use crate::store::{self, Store, Tx};

/// How long failed tries count.
pub const WINDOW: i64 = 15 * 60 * Micros::SECOND;
/// Most tries for a name from a network.
const MOST_BOTH: i64 = 10;
/// Most tries from a network, whatever the name.
const MOST_NETWORK: i64 = 50;
/// Most tries for a name, wherever from.
const MOST_NAME: i64 = 100;

/// A session that nobody uses for this long is over.
const IDLE: i64 = 12 * Micros::HOUR;
/// A session is over after this long in any case.
const WHOLE: i64 = 7 * Micros::DAY;
/// How exactly the last use of a session is known.
const SEEN: i64 = 60 * Micros::SECOND;

/// Who signs in, and where from.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// As it was typed.
    pub name: &'a str,
    /// The same.
    pub password: Password,
    /// The client.
    pub address: IpAddr,
    /// The browser, by its own words.
    pub agent: Option<&'a str>,
    /// The session that the browser has: it ends.
    pub before: Option<&'a SessionText>,
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The name or the password is wrong; which of the two, nobody is told.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many tries; from this time on there may be another.
    #[error("there were too many tries to sign in")]
    TooMany {
        /// Seconds until then.
        after: i64,
    },
    /// The password is longer than any.
    #[error("password {0}")]
    TooLong(String),
    /// The new password cannot be one.
    #[error("new_password {0}")]
    NewPassword(String),
    /// It cannot be compared.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No session can be made.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// The database refuses or cannot be reached.
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// When sessions are over.
pub fn limits(now: Micros) -> Limits {
    Limits {
        now,
        seen_since: Micros(now.0 - IDLE),
    }
}

/// Signs somebody in: a new session, under a new secret.
///
/// # Errors
/// The name or the password is wrong, there were too many tries, or the database fails.
pub async fn sign_in(
    store: &Store,
    clock: &Clock,
    asked: &SignIn<'_>,
) -> Result<(SessionText, Visit), SignInError> {
    let user_id = compare(store, clock, asked).await?;
    let mut tx = store.begin().await?;
    if let Some(before) = asked.before {
        tx.end_session_with(before.print()).await?;
    }
    let text = begin(&mut tx, clock, asked, user_id).await?;
    tx.commit().await?;
    visit_of(store, clock, text).await
}

/// Gives somebody who knows their password another one. All their sessions end, and a new one
/// begins.
///
/// # Errors
/// The new password cannot be taken, the old one is wrong, there were too many tries, or the
/// database fails.
pub async fn change_own_password(
    store: &Store,
    clock: &Clock,
    asked: &SignIn<'_>,
    new: Password,
) -> Result<(SessionText, Visit), SignInError> {
    new.check_new().map_err(SignInError::NewPassword)?;
    let user_id = compare(store, clock, asked).await?;
    let hash = password::hash(new).await?;
    let mut tx = store.begin().await?;
    tx.set_password(user_id, Some(&hash), clock.now()).await?;
    let text = begin(&mut tx, clock, asked, user_id).await?;
    tx.commit().await?;
    visit_of(store, clock, text).await
}

/// Whose name and password these are.
async fn compare(store: &Store, clock: &Clock, asked: &SignIn<'_>) -> Result<UserId, SignInError> {
    let length = asked.password.check_length();
    length.map_err(SignInError::TooLong)?;
    // What cannot be a name is nobody's.
    let name = user_name(asked.name).unwrap_or_default();
    let subjects = Subjects::of(&name, asked.address);
    subjects.count(store, clock.now()).await?;
    let known = store.password_of(&name).await?;
    let (id, stored) = known.map_or((None, None), |user| (Some(user.id), user.password));
    let is_right = password::is_right(asked.password.clone(), stored).await?;
    let user_id = id.filter(|_| is_right).ok_or(SignInError::Wrong)?;
    let mut tx = store.begin().await?;
    for subject in subjects.prints() {
        tx.take_try_back(subject).await?;
    }
    tx.commit().await?;
    Ok(user_id)
}

async fn begin(
    tx: &mut Tx,
    clock: &Clock,
    asked: &SignIn<'_>,
    user_id: UserId,
) -> Result<SessionText, SignInError> {
    let text = SessionText::new(random_secret()?);
    let now = clock.now();
    let session = NewSession {
        id: SessionId(clock.new_id(now)),
        print: text.print(),
        user_id,
        created_at: now,
        ends_at: Micros(now.0 + WHOLE),
        address: asked.address.to_string(),
        agent: asked
            .agent
            .map(|agent| clean(agent, Limit::NAME).0.into_owned()),
    };
    tx.begin_session(&session).await?;
    Ok(text)
}

/// The session that has begun; the user may have been removed meanwhile.
async fn visit_of(
    store: &Store,
    clock: &Clock,
    text: SessionText,
) -> Result<(SessionText, Visit), SignInError> {
    let visit = store.visit(text.print(), limits(clock.now())).await?;
    visit.map(|visit| (text, visit)).ok_or(SignInError::Wrong)
}

/// The visit that a session is of, unless it is over; and notes that it was used.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn visit(
    store: &Store,
    clock: &Clock,
    session: &SessionText,
) -> store::Result<Option<Visit>> {
    let now = clock.now();
    let visit = store.visit(session.print(), limits(now)).await?;
    if let Some(visit) = &visit
        && now.0 - visit.last_seen_at.0 >= SEEN
    {
        store.note_visit(visit.id, now).await?;
    }
    Ok(visit)
}

/// Forgets sessions that are over and tries that no longer count.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn forget(store: &Store, now: Micros) -> store::Result<()> {
    store.forget_sessions(limits(now)).await?;
    store.forget_tries(Micros(now.0 - WINDOW)).await
}

/// What tries are counted for. As prints: what somebody types as their name may be a password.
struct Subjects([(SecretPrint, i64); 3]);

impl Subjects {
    fn of(name: &str, address: IpAddr) -> Self {
        let network = network(address);
        let mut subjects = [
            (
                SecretPrint::of(&format!("both {network} {name}")),
                MOST_BOTH,
            ),
            (SecretPrint::of(&format!("network {network}")), MOST_NETWORK),
            (SecretPrint::of(&format!("name {name}")), MOST_NAME),
        ];
        // In one order, so that two sign-ins do not wait for each other.
        subjects.sort_by_key(|(print, _)| print.0);
        Self(subjects)
    }

    fn prints(&self) -> impl Iterator<Item = SecretPrint> {
        self.0.iter().map(|(print, _)| *print)
    }

    /// Counts one more try, unless it is one too many.
    async fn count(&self, store: &Store, now: Micros) -> Result<(), SignInError> {
        let mut tx = store.begin().await?;
        for (subject, most) in self.0 {
            let since = Micros(now.0 - WINDOW);
            let (tries, began_at) = tx.count_try(subject, now, since).await?;
            if tries > most {
                tx.rollback().await?;
                let left = began_at.0 + WINDOW - now.0;
                let after = left.max(0) / Micros::SECOND + 1;
                return Err(SignInError::TooMany { after });
            }
        }
        Ok(tx.commit().await?)
    }
}

/// What is one client as far as tries go: an IPv4 address, or an IPv6 network of 64 bits, which is
/// what one household gets.
fn network(address: IpAddr) -> IpNet {
    let bits = if address.is_ipv4() { 32 } else { 64 };
    IpNet::new(address, bits).map_or(IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::Role;
    use crate::operator::NewUser;
    use crate::operator::users::add_user;
    use crate::store::tests::rig::{Engine, on_both};
    use crate::store::tests::{NOW, new_store};

    const PASSWORD: &str = "correct horse";

    async fn new_world(engine: Engine) -> (Store, Clock) {
        let (store, clock) = (new_store(engine).await, Clock::fixed(NOW));
        let ada = NewUser {
            name: "Ada".to_owned(),
            role: Role::Analyst,
            password: Some(Password::new(PASSWORD.to_owned())),
        };
        add_user(&store, &clock, ada, "admin").await.unwrap();
        (store, clock)
    }

    async fn try_from(
        (store, clock): &(Store, Clock),
        name: &str,
        password: &str,
        address: &str,
    ) -> Result<(SessionText, Visit), SignInError> {
        let asked = SignIn {
            name,
            password: Password::new(password.to_owned()),
            address: address.parse().unwrap(),
            agent: Some("Firefox"),
            before: None,
        };
        sign_in(store, clock, &asked).await
    }

    async fn a_session_ends_when_it_is_not_used_and_in_any_case(engine: Engine) {
        let world = new_world(engine).await;
        let (store, clock) = &world;
        let (session, begun) = try_from(&world, "ADA", PASSWORD, "::1").await.unwrap();
        assert_eq!((begun.name.as_str(), begun.role), ("ada", Role::Analyst));
        let mut used = 0;
        // Used often enough, it lives its whole time.
        while let Some(now) = visit(store, clock, &session).await.unwrap() {
            assert_eq!(now.id, begun.id);
            clock.advance(IDLE - 1);
            used += 1;
        }
        assert_eq!(used, WHOLE / (IDLE - 1) + 1);
        let (session, _) = try_from(&world, "ada", PASSWORD, "::1").await.unwrap();
        clock.advance(IDLE);
        assert_eq!(visit(store, clock, &session).await.unwrap(), None);
        forget(store, clock.now()).await.unwrap();
        let all = Limits {
            now: Micros(0),
            seen_since: Micros(0),
        };
        assert_eq!(store.sessions(None, all).await.unwrap(), []);
    }

    async fn a_name_is_tried_so_often_from_a_network_and_a_network_so_often(engine: Engine) {
        let world = new_world(engine).await;
        let is_too_many = async |name: &str, password: &str, address: &str| match try_from(
            &world, name, password, address,
        )
        .await
        {
            Err(SignInError::TooMany { after }) => {
                assert!((1..=15 * 60 + 1).contains(&after), "{after}");
                true
            }
            Err(SignInError::Wrong) | Ok(_) => false,
            Err(error) => panic!("{error}"),
        };
        for _ in 0..MOST_BOTH {
            assert!(!is_too_many("ada", "wrong", "2001:db8::1").await);
        }
        // The right password does not help there any more; elsewhere it does.
        assert!(
            is_too_many("ada", PASSWORD, "2001:db8::2").await,
            "one network"
        );
        assert!(!is_too_many("ada", PASSWORD, "2001:db8:0:1::1").await);
        // Who succeeds is not counted.
        for _ in 0..=MOST_BOTH {
            assert!(!is_too_many("ada", PASSWORD, "192.0.2.1").await);
        }
        for name in 0..MOST_NETWORK {
            assert!(!is_too_many(&format!("nobody-{name}"), "x", "192.0.2.2").await);
        }
        assert!(is_too_many("ada", PASSWORD, "192.0.2.2").await);
        world.1.advance(WINDOW);
        assert!(!is_too_many("ada", PASSWORD, "192.0.2.2").await);
        assert!(!is_too_many("ada", PASSWORD, "2001:db8::1").await);
    }

    on_both!(
        a_session_ends_when_it_is_not_used_and_in_any_case,
        a_name_is_tried_so_often_from_a_network_and_a_network_so_often,
    );
}
