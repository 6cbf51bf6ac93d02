//! People who keep a list of items in a drop folder: careful ones, hasty ones, Excel.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use millrace_e2e::load::drop_file;
use rand::{RngExt as _, rngs::StdRng};

const HEADER: &str = "row;item;text\n";
const NAME: &str = "items.csv";

/// The list and its folder.
pub(super) struct Erp {
    folder: PathBuf,
    /// Row → (item, text).
    rows: BTreeMap<String, (String, String)>,
    named: u32,
}

impl Erp {
    pub(super) fn start(folder: &Path, items: u32) -> Result<Self> {
        let rows =
            (0..items).map(|number| (format!("z{number:03}"), (format!("I-{number:03}"), "as it began".to_owned()))).collect();
        let erp = Self { folder: folder.to_owned(), rows, named: 0 };
        drop_file(&erp.folder, "units.csv", "code;name\nC62;piece\n")?;
        erp.write()?;
        Ok(erp)
    }

    /// What golden has to hold in the end: item → (row, text).
    pub(super) fn truth(&self) -> BTreeMap<String, (String, String)> {
        self.rows.iter().map(|(row, (item, text))| (item.clone(), (row.clone(), text.clone()))).collect()
    }

    /// Changes the list and writes it in one of the ways that people have.
    pub(super) async fn step(&mut self, random: &mut StdRng) -> Result<String> {
        let changed = self.change(random);
        let way = match random.random_range(0..6) {
            0 => {
                self.write_slowly(random).await?;
                "in place, with a pause between two rows"
            }
            1 => {
                fs::write(self.folder.join(NAME), HEADER)?;
                "the header alone, for now"
            }
            2 => {
                drop_file(&self.folder, NAME, &(self.text() + ";;\n;;\n"))?;
                "with blank rows at the end"
            }
            _ => {
                self.write()?;
                "as a whole"
            }
        };
        Ok(format!("{changed}; the list is written {way}"))
    }

    /// As a careful writer does.
    pub(super) fn write(&self) -> Result<()> {
        drop_file(&self.folder, NAME, &self.text())
    }

    fn change(&mut self, random: &mut StdRng) -> String {
        let keys: Vec<String> = self.rows.keys().cloned().collect();
        let row = keys[random.random_range(0..keys.len())].clone();
        let other = keys[random.random_range(0..keys.len())].clone();
        match random.random_range(0..6) {
            0 => {
                let moved = self.rows.remove(&row).expect("listed above");
                let item = moved.0.clone();
                // Before and behind the row that it leaves: a file is read from top to bottom.
                let new = if random.random_bool(0.5) { format!("a-{row}") } else { format!("{row}-b") };
                self.rows.insert(new, moved);
                format!("{item} moves to another row")
            }
            1 => {
                let (first, second) = (self.rows[&row].clone(), self.rows[&other].clone());
                self.rows.insert(row.clone(), second);
                self.rows.insert(other.clone(), first);
                format!("{row} and {other} change items")
            }
            2 => {
                self.rows.remove(&row);
                format!("{row} is gone")
            }
            3 => {
                self.named += 1;
                self.rows.insert(format!("n{:03}", self.named), (format!("J-{:03}", self.named), "new".to_owned()));
                "a row is new".to_owned()
            }
            4 => {
                let text = "wide ".repeat(random.random_range(6_000..60_000));
                self.rows.get_mut(&row).expect("listed above").1 = text.trim().to_owned();
                format!("{row} has a huge cell")
            }
            _ => {
                self.rows.get_mut(&row).expect("listed above").1 = format!("text {}", random.random_range(0..5));
                format!("{row} changes")
            }
        }
    }

    fn text(&self) -> String {
        let rows: String = self.rows.iter().map(|(row, (item, text))| format!("{row};{item};{text}\n")).collect();
        format!("{HEADER}{rows}")
    }

    /// The pause is the fault: half of the list is there, its last row ended.
    async fn write_slowly(&self, random: &mut StdRng) -> Result<()> {
        let text = self.text();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let (first, rest) = lines.split_at(random.random_range(1..lines.len()));
        let mut file = fs::File::create(self.folder.join(NAME))?;
        file.write_all(first.concat().as_bytes())?;
        file.sync_all()?;
        tokio::time::sleep(Duration::from_millis(random.random_range(50..600))).await;
        file.write_all(rest.concat().as_bytes())?;
        Ok(())
    }
}
