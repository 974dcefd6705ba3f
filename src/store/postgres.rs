//! A connection to Postgres that is given up when it falls silent.
//!
//! A machine that dies, a fail-over behind one name, a network that swallows packets: none of them
//! closes a connection, and whoever waits for an answer on it would wait for ever. So each wait for
//! an answer has an end. What reaches it is an I/O error like any other, and the connection is
//! closed there and then: going back to the pool it would be asked whether it lives, and hang there
//! in its turn.
//!
//! The time counts from answer to answer, not for a transaction, and a lock of which others are in
//! front is waited for in turns shorter than it (see [`super::Store::begin_lane`]): waiting is not
//! silence.
//!
//! The other side is told to do the same, see [`prepare`]: a server of ours that vanished would
//! otherwise hold the lane, and all other servers' hits with it, until the kernel's keep-alive
//! notices after two hours.

use std::future::{Future, ready};
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{AssertSqlSafe, Connection as _, Execute, Executor, PgPool, Postgres, SqlStr};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::lane::Seen;

/// How long an idle connection may take for the smallest possible response. Otherwise it is
/// replaced, which costs less than waiting; several dead ones must fit into [`ACQUIRE`].
const PING: Duration = Duration::from_secs(1);
/// Anyone who waits longer for a connection keeps a reader or a sender waiting: better to say so.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a connection may take to roll back what was left open and to return to the pool.
const RETURN: Duration = Duration::from_secs(5);
/// Rows that are read ahead of the consumer.
const AHEAD: usize = 16;

/// A row, or the end of a statement.
type Answer = sqlx::Either<PgQueryResult, PgRow>;

/// Connections to Postgres; cheap to clone. A query on it takes a connection for itself.
#[derive(Clone, Debug)]
pub struct WatchedPool {
    pool: PgPool,
    /// For short statements beside an open transaction. If they came from the others, transactions
    /// that wait for their turn could hold all connections that the one in front still needs.
    aside: PgPool,
    patience: Duration,
}

/// A connection, returned to the pool when dropped.
#[derive(Debug)]
pub struct WatchedConnection {
    connection: Option<PoolConnection<Postgres>>,
    patience: Duration,
    is_silent: bool,
}

/// A transaction, rolled back if dropped before it was committed.
#[derive(Debug)]
pub struct PgTransaction {
    connection: WatchedConnection,
    aside: PgPool,
    /// What it saw of others at its beginning, until it has its turn; none where it is alone.
    pub(super) seen: Option<Seen>,
}

impl WatchedPool {
    /// Connects on the first query. `patience` is how long a response may take.
    pub(super) fn open(
        options: PgConnectOptions,
        max_connections: u32,
        patience: Duration,
    ) -> Self {
        let pool = |most, options| {
            PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(ACQUIRE)
                // The pool's own test waits without end.
                .test_before_acquire(false)
                .before_acquire(|connection, _| {
                    Box::pin(async {
                        Ok(matches!(timeout(PING, connection.ping()).await, Ok(Ok(()))))
                    })
                })
                .after_connect(move |connection, _| Box::pin(prepare(connection, patience)))
                .connect_lazy_with(options)
        };
        Self {
            aside: pool(1, options.clone()),
            pool: pool(max_connections.max(2), options),
            patience,
        }
    }

    /// The pool itself, for what may take as long as it likes: migrations.
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// A connection for several queries.
    ///
    /// # Errors
    /// The database cannot be reached, or all connections are in use for longer than five seconds.
    pub async fn acquire(&self) -> sqlx::Result<Box<WatchedConnection>> {
        Ok(Box::new(WatchedConnection {
            connection: Some(self.pool.acquire().await?),
            patience: self.patience,
            is_silent: false,
        }))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// The same.
    pub async fn begin(&self) -> sqlx::Result<PgTransaction> {
        let mut transaction = PgTransaction {
            connection: *self.acquire().await?,
            aside: self.aside.clone(),
            seen: None,
        };
        sqlx::raw_sql("begin").execute(&mut *transaction).await?;
        Ok(transaction)
    }

    pub(super) async fn close(&self) {
        self.aside.close().await;
        self.pool.close().await;
    }
}

impl WatchedConnection {
    /// The connection, and what to wait with for its answers: for what is more than a query.
    ///
    /// # Errors
    /// None that can be seen: it is there until the connection is dropped.
    pub(in crate::store) fn parts(&mut self) -> sqlx::Result<(&mut PgConnection, Waiting<'_>)> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let waiting = Waiting {
            patience: self.patience,
            is_silent: &mut self.is_silent,
        };
        Ok((connection, waiting))
    }
}

/// Waits for answers of one connection, each for its time.
pub(super) struct Waiting<'s> {
    patience: Duration,
    is_silent: &'s mut bool,
}

impl Waiting<'_> {
    /// Waits for a response; if none comes in time, the connection is closed.
    pub(super) async fn wait<T>(
        &mut self,
        answer: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        // Who fell silent once is not asked again, not even to undo what was begun.
        if !*self.is_silent
            && let Ok(answer) = timeout(self.patience, answer).await
        {
            return answer;
        }
        *self.is_silent = true;
        let text = format!(
            "Postgres stopped responding: no answer in {:?}",
            self.patience
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
    }
}

impl Drop for WatchedConnection {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if self.is_silent {
            // Out of the pool and closed, without a farewell that might not get away.
            drop(connection.detach());
        } else {
            tokio::spawn(give_back(connection));
        }
    }
}

impl PgTransaction {
    /// The connection for statements that are to be there at once, whatever becomes of this
    /// transaction.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(super) async fn aside(&self) -> sqlx::Result<WatchedConnection> {
        Ok(WatchedConnection {
            connection: Some(self.aside.acquire().await?),
            patience: self.connection.patience,
            is_silent: false,
        })
    }

    /// Commits.
    ///
    /// # Errors
    /// The database did not, or its answer was lost.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.end("commit").await
    }

    /// Undoes everything.
    ///
    /// # Errors
    /// The connection is lost (and with it the transaction).
    pub async fn rollback(self) -> sqlx::Result<()> {
        self.end("rollback").await
    }

    async fn end(mut self, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(&mut *self).await?;
        // It goes back as a connection: there is nothing to undo.
        let WatchedConnection {
            connection,
            patience,
            is_silent,
        } = &mut self.connection;
        drop(WatchedConnection {
            connection: connection.take(),
            patience: *patience,
            is_silent: *is_silent,
        });
        Ok(())
    }
}

impl Drop for PgTransaction {
    fn drop(&mut self) {
        if self.connection.is_silent {
            return;
        }
        if let Some(mut connection) = self.connection.connection.take() {
            tokio::spawn(async move {
                let undoing = sqlx::raw_sql("rollback").execute(&mut *connection);
                match timeout(RETURN, undoing).await {
                    Ok(Ok(_)) => give_back(connection).await,
                    _ => drop(connection.detach()),
                }
            });
        }
    }
}

/// Gives a connection back to the pool, which would wait without end for what is still to come:
/// rows that nobody took, or the answer to a last ping. Where that takes too long the connection is
/// closed with the future that did not end.
async fn give_back(mut connection: PoolConnection<Postgres>) {
    let _ = timeout(RETURN, connection.return_to_pool()).await;
}

impl Deref for PgTransaction {
    type Target = WatchedConnection;

    fn deref(&self) -> &WatchedConnection {
        &self.connection
    }
}

impl DerefMut for PgTransaction {
    fn deref_mut(&mut self) -> &mut WatchedConnection {
        &mut self.connection
    }
}

impl<'c> Executor<'c> for &'c mut WatchedConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Answer>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (connection, waiting) = match self.parts() {
            Ok(parts) => parts,
            Err(error) => return stream::once(ready(Err(error))).boxed(),
        };
        let answers = connection.fetch_many(query);
        stream::try_unfold(
            (answers, waiting),
            |(mut answers, mut waiting)| async move {
                let answer = waiting.wait(answers.try_next()).await?;
                Ok(answer.map(|answer| (answer, (answers, waiting))))
            },
        )
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let (connection, mut waiting) = self.parts()?;
            waiting.wait(connection.fetch_optional(query)).await
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (connection, mut waiting) = self.parts()?;
            waiting.wait(connection.prepare_with(sql, parameters)).await
        })
    }
}

impl<'c> Executor<'c> for &'c WatchedPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Answer>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // The connection and the answers that borrow from it live in one future, which hands over
        // what it gets.
        let (hand, mut taken) = mpsc::channel(AHEAD);
        let mut fetching = Some(Box::pin(async move {
            let mut connection = match self.acquire().await {
                Ok(connection) => connection,
                Err(error) => return drop(hand.send(Err(error)).await),
            };
            let mut answers = (&mut *connection).fetch_many(query);
            while let Some(answer) = answers.next().await {
                if hand.send(answer).await.is_err() {
                    return;
                }
            }
        }));
        stream::poll_fn(move |context| {
            if let Some(future) = &mut fetching
                && future.as_mut().poll(context).is_ready()
            {
                fetching = None;
            }
            taken.poll_recv(context)
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }
}

/// Asks Postgres to notice by itself where this side vanished, and to end the session then with its
/// transaction and its locks: a host that does not answer after half a minute, a process that keeps
/// a transaction open without a statement for longer than it would wait itself, and, while a
/// statement runs or waits for a lock, a connection that was closed. And not to compile statements:
/// ours are short, it takes longer than running them.
///
/// With `set` after connecting rather than as options of it, which poolers between refuse; each by
/// itself, since older versions and other systems do not know them all; and only where nobody set
/// them for these sessions (in the URL, for the role, for the database). What cannot be set is left
/// as it is.
async fn prepare(connection: &mut PgConnection, patience: Duration) -> sqlx::Result<()> {
    let sql = format!(
        "do $$
         declare setting record;
         begin
           for setting in
             select name, value from pg_settings join (values ('tcp_keepalives_idle', '15'),
             ('tcp_keepalives_interval', '5'),
               ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '30000'), ('client_connection_check_interval', '10000'),
               ('idle_in_transaction_session_timeout', '{}'), ('jit', 'off')) as wanted (name, value) using (name)
             where source not in ('client', 'user', 'database', 'database user', 'session')
           loop
             begin
               perform set_config(setting.name, setting.value, false);
             exception when others then
             end;
           end loop;
         end $$",
        patience.as_millis()
    );
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await {
        tracing::debug!(%error, "cannot change the settings of the Postgres session");
    }
    Ok(())
}
