//! A list of backends in a TOML file of its own: `[[backend]]` with name, address, weight and backup. Read by `elastic`.
//!
//! May not: open the file; panic, whatever the bytes.

use super::problems::{Findings, Problems};
use super::reader::{Integers, Table};
use super::scalars::{self, Use};
use super::shapes::{LIST, LISTED};
use super::values::Listed;
use super::{FILE_BYTES_MAX, WEIGHT_MAX, load, syntax};

/// Reads the text of such a file. `file_name` only stands in the messages.
///
/// # Errors
/// Every problem of the text, sorted by place.
pub fn listed(file_name: &str, text: &str) -> Result<Vec<Listed>, Problems> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Problems::of_file(file_name, &load::too_large()));
    }
    let mut findings = Findings::new(text);
    let list = syntax::read(text, &mut findings).map(|root| {
        let root = Table::open(0, String::new(), &root, &LIST, &mut findings);
        let tables = root
            .get("backend")
            .map(|field| field.sections(LISTED.header, &mut findings));
        let mut list = Vec::new();
        for (field, entries) in tables.into_iter().flatten() {
            let table = Table::open(field.at, field.path, entries, &LISTED, &mut findings);
            list.extend(entry(&table, &mut findings));
        }
        list
    });
    findings.drop_echoes();
    match list {
        Some(list) if findings.is_empty() => Ok(list),
        _ => Err(findings.into_problems(file_name)),
    }
}

fn entry(table: &Table, findings: &mut Findings) -> Option<Listed> {
    let name = match table.get("name") {
        Some(_) => Some(scalars::name(table, findings)?.to_owned()),
        None => None,
    };
    let Some(address) = table.get("address") else {
        table.missing("address", Use::Backend.wanted(), findings);
        return None;
    };
    let weights = Integers {
        range: 0..=u32::from(WEIGHT_MAX),
        zero: "no new connection",
    };
    Some(Listed {
        name,
        address: scalars::address(&address, Use::Backend, findings)?,
        weight: u16::try_from(table.integer("weight", &weights, 1, findings)).ok()?,
        backup: table
            .get("backup")
            .and_then(|field| field.boolean(findings))
            .unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_what_is_wrong_is_told_with_its_place() {
        let text = "[[backend]]\naddress = \"10.0.0.1:1\"\n[[backend]]\nname = \"b\"\naddress = \"[::1]:2\"\nweight = 3\nbackup = true\n";
        let wanted = [
            Listed {
                name: None,
                address: "10.0.0.1:1".parse().unwrap(),
                weight: 1,
                backup: false,
            },
            Listed {
                name: Some("b".to_owned()),
                address: "[::1]:2".parse().unwrap(),
                weight: 3,
                backup: true,
            },
        ];
        assert_eq!(listed("l", text).unwrap(), wanted);
        assert_eq!(listed("l", "").unwrap(), []);
        let said = |text: &str| listed("l", text).unwrap_err().to_string();
        let misspelt = said("[[backend]]\nadress = \"10.0.0.1:1\"\n");
        assert!(misspelt.starts_with("l:1:1: backend[0].address: missing"), "{misspelt}");
        assert!(misspelt.ends_with("l:2:1: backend[0].adress: unknown key; did you mean \"address\"?"));
        assert!(said("[[backend]]\naddress = \"db:1\"\n").contains("host names aren't looked up"));
        assert!(said("[[backend]]\naddress = \"10.0.0.1:1\"\n[[back").starts_with("l:3:"));
        assert!(said("[[backends]]\n").contains("did you mean [[backend]]?"));
    }
}
