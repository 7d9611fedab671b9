//! Where a campaign keeps what it has done, so that it goes on after it was killed.
//!
//! A campaign talks to a [`Store`] only. [`Memory`] keeps nothing; [`Database`] is a SQLite file, written in transactions: what
//! is lost by a kill is at most the graphs since the last one.

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A failure that was reduced and written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Failures with one key have one cause.
    pub cause: String,
    /// What was tested, and where in it.
    pub stage: String,
    /// `crash`, `hang`, `refused` or `wrong`.
    pub kind: String,
    /// In words.
    pub text: String,
    /// The smallest graph, as text.
    pub graph: String,
    /// A picture of it, as SVG.
    pub picture: String,
    /// Calls of the smallest graph.
    pub nodes: usize,
    /// Where it is written down.
    pub folder: Option<PathBuf>,
    /// Graphs that failed for this cause.
    pub seen: usize,
}

/// How far a campaign is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The next graph's number.
    pub next: u64,
    /// Graphs checked.
    pub graphs: u64,
    /// Graphs that the system said it does not support.
    pub unsupported: u64,
    /// Graphs that the system did not load, for whatever reason.
    pub unloaded: u64,
    /// Time spent, in seconds.
    pub seconds: f64,
    /// Calls by operator.
    pub uses: BTreeMap<String, usize>,
}

/// What a campaign asks of the place where it keeps its work.
pub trait Store {
    /// The progress of the campaign that `plan` describes, and what it found; nothing where it is a new one.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a campaign of another description.
    fn resume(&mut self, plan: &str) -> Result<(Progress, Vec<Record>)>;

    /// Keeps how far the campaign is.
    ///
    /// # Errors
    /// When it cannot be written.
    fn progress(&mut self, progress: &Progress) -> Result<()>;

    /// Keeps a new finding, or that an old one was seen again (then with its new number).
    ///
    /// # Errors
    /// When it cannot be written.
    fn found(&mut self, record: &Record) -> Result<()>;
}

/// Keeps nothing beyond the process.
#[derive(Default)]
pub struct Memory;

impl Store for Memory {
    fn resume(&mut self, _: &str) -> Result<(Progress, Vec<Record>)> {
        Ok(Default::default())
    }

    fn progress(&mut self, _: &Progress) -> Result<()> {
        Ok(())
    }

    fn found(&mut self, _: &Record) -> Result<()> {
        Ok(())
    }
}

/// A SQLite file.
pub struct Database {
    sql: Connection,
}

const TABLES: &str = "
create table if not exists campaign (
    only integer primary key check (only = 1), plan text not null,
    next integer not null default 0, graphs integer not null default 0,
    unsupported integer not null default 0, unloaded integer not null default 0,
    seconds real not null default 0);
create table if not exists uses (operator text primary key, calls integer not null);
create table if not exists findings (
    cause text primary key, stage text not null, kind text not null, text text not null, graph text not null,
    picture text not null, nodes integer not null, folder text, seen integer not null);";

impl Database {
    /// The file, made where it is not there.
    ///
    /// # Errors
    /// When it cannot be opened or is no database of a campaign.
    pub fn open(path: &Path) -> Result<Database> {
        let sql = Connection::open(path).with_context(|| path.display().to_string())?;
        // Written ahead in a log: a kill between two writes leaves the last whole transaction.
        sql.pragma_update(None, "journal_mode", "wal").with_context(|| path.display().to_string())?;
        sql.execute_batch(TABLES).with_context(|| path.display().to_string())?;
        // A database of before.
        if !sql.column_exists(None, "campaign", "unloaded")? {
            sql.execute_batch("alter table campaign add column unloaded integer not null default 0")?;
        }
        Ok(Database { sql })
    }
}

/// A column that holds a count.
fn number(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<usize> {
    Ok(usize::try_from(row.get::<_, i64>(at)?).unwrap_or(0))
}

impl Store for Database {
    fn resume(&mut self, plan: &str) -> Result<(Progress, Vec<Record>)> {
        let known: Option<String> = self.sql.query_row("select plan from campaign", [], |row| row.get(0)).optional()?;
        match known {
            Some(known) => {
                ensure!(known == plan, "the folder holds another campaign:\n  {known}\nand not\n  {plan}");
            }
            None => {
                self.sql.execute("insert into campaign (only, plan) values (1, ?1)", params![plan])?;
            }
        }
        let mut progress =
            self.sql.query_row("select next, graphs, unsupported, seconds, unloaded from campaign", [], |row| {
                let whole = |i| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(i)?).unwrap_or(0));
                let seconds = row.get(3)?;
                Ok(Progress {
                    next: whole(0)?,
                    graphs: whole(1)?,
                    unsupported: whole(2)?,
                    unloaded: whole(4)?,
                    seconds,
                    ..Progress::default()
                })
            })?;
        let mut uses = self.sql.prepare("select operator, calls from uses")?;
        let uses = uses.query_map([], |row| Ok((row.get(0)?, number(row, 1)?)))?;
        progress.uses = uses.collect::<rusqlite::Result<_>>()?;
        let mut found = self.sql.prepare(
            "select cause, stage, kind, text, graph, picture, nodes, folder, seen from findings order by rowid",
        )?;
        let found = found.query_map([], |row| {
            Ok(Record {
                cause: row.get(0)?,
                stage: row.get(1)?,
                kind: row.get(2)?,
                text: row.get(3)?,
                graph: row.get(4)?,
                picture: row.get(5)?,
                nodes: number(row, 6)?,
                folder: row.get::<_, Option<String>>(7)?.map(Into::into),
                seen: number(row, 8)?,
            })
        })?;
        Ok((progress, found.collect::<rusqlite::Result<_>>()?))
    }

    fn progress(&mut self, p: &Progress) -> Result<()> {
        let all = self.sql.transaction()?;
        all.execute(
            "update campaign set next = ?1, graphs = ?2, unsupported = ?3, seconds = ?4, unloaded = ?5",
            params![
                p.next.cast_signed(),
                p.graphs.cast_signed(),
                p.unsupported.cast_signed(),
                p.seconds,
                p.unloaded.cast_signed()
            ],
        )?;
        for (operator, calls) in &p.uses {
            all.execute("insert or replace into uses values (?1, ?2)", params![operator, *calls as i64])?;
        }
        Ok(all.commit()?)
    }

    fn found(&mut self, r: &Record) -> Result<()> {
        let folder = r.folder.as_ref().map(|f| f.display().to_string());
        self.sql.execute(
            "insert into findings values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             on conflict (cause) do update set seen = excluded.seen",
            params![r.cause, r.stage, r.kind, r.text, r.graph, r.picture, r.nodes as i64, folder, r.seen as i64],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_before_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("campaign.sqlite");
        let before = TABLES.replace(" unloaded integer not null default 0,", "");
        assert_ne!(before, TABLES);
        Connection::open(&path).unwrap().execute_batch(&before).unwrap();
        let progress = Progress { graphs: 9, unloaded: 3, ..Progress::default() };
        let mut store = Database::open(&path).unwrap();
        store.resume("plan").unwrap();
        store.progress(&progress).unwrap();
        assert_eq!(Database::open(&path).unwrap().resume("plan").unwrap().0, progress);
    }

    #[test]
    fn a_database_goes_on_where_it_was_left_and_refuses_another_plan() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("campaign.sqlite");
        let record = Record {
            cause: "a | b".into(),
            stage: "a".into(),
            kind: "wrong".into(),
            text: "1 instead of 2".into(),
            graph: "graph @f()".into(),
            picture: "<svg/>".into(),
            nodes: 1,
            folder: Some("x/000".into()),
            seen: 1,
        };
        let progress = Progress {
            next: 7,
            graphs: 6,
            unsupported: 2,
            unloaded: 1,
            seconds: 0.5,
            uses: BTreeMap::from([("Add".to_owned(), 3)]),
        };
        {
            let mut store = Database::open(&path).unwrap();
            assert_eq!(store.resume("plan").unwrap(), Default::default());
            store.found(&record).unwrap();
            store.progress(&progress).unwrap();
            store.found(&Record { seen: 4, ..record.clone() }).unwrap();
        }
        let mut store = Database::open(&path).unwrap();
        assert_eq!(store.resume("plan").unwrap(), (progress, vec![Record { seen: 4, ..record }]));
        assert!(store.resume("other").unwrap_err().to_string().contains("another campaign"));
    }
}
