//! `[history]`: where samples are kept on disk, for how long, and how many bytes of them.
//!
//! May not: open the directory; `admin` does, and says what is wrong with it.

use super::problems::Findings;
use super::reader::Table;
use super::scalars;
use super::values::{Admin, AdminListen, History};
use super::{HISTORY_BYTES, HISTORY_KEEP};

/// `None`: samples are kept in memory only.
pub(super) fn history(table: &Table, admin: &Admin, findings: &mut Findings) -> Option<History> {
    let directory = table.get("directory").and_then(|field| {
        let directory = scalars::path(&field, "the path of a directory, or \"\" for none", findings)?;
        if admin.listen == AdminListen::Off {
            let hint = "with [admin] listen = \"off\" nobody takes samples";
            field.refuse("\"\" for none", hint, findings);
        }
        Some(directory)
    });
    let keep = scalars::duration(table, "keep", &HISTORY_KEEP, "7d", findings);
    let bytes_max = table
        .get("max_size")
        .and_then(|field| scalars::size(&field, &HISTORY_BYTES, "1GiB", findings))
        .unwrap_or(1 << 30);
    directory.map(|directory| History {
        directory,
        keep,
        bytes_max,
    })
}
