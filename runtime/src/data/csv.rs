//! Tables of numbers in CSV files, with columns by name.
//!
//! Fields are separated by commas (or another byte), records by line ends (`\n` or `\r\n`); a field in double
//! quotes may hold separators, line ends and doubled quotes, as in RFC 4180. A byte-order mark and blank
//! lines are skipped, spaces around an unquoted field are ignored. Files may be packed with gzip.
//!
//! Every chosen column must hold finite numbers. Columns of text are read over if they are not chosen. An
//! error names the line and the column.

use std::path::Path;

use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::bytes;
use crate::error::{Error, ErrorKind, Result};

mod records;

use records::{Field, Records};

/// Whether the first record names the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderRow {
    /// It does.
    #[default]
    Present,
    /// It holds numbers like every other; the columns are named `0`, `1`, `2` and so on.
    Absent,
}

/// What an empty field, `NA` or `NaN` in a chosen column means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// An error that names the line and the column.
    #[default]
    Refuse,
    /// A NaN, for the caller to replace.
    Nan,
}

/// How a CSV file is to be read. The default: with a header, commas, all columns, nothing missing.
///
/// ```
/// use ndarray::array;
/// use tapeless_runtime::data::csv::CsvOptions;
///
/// let text = "length,width,species\n5.1,3.5,0\n4.9,3.0,1\n";
/// let table = CsvOptions::default().parse(text)?;
/// assert_eq!(table.columns(&["width", "length"])?, array![[3.5, 5.1], [3.0, 4.9]]);
/// assert_eq!(table.integers::<u8>("species")?, array![0, 1]);
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CsvOptions {
    header: HeaderRow,
    missing: Missing,
    separator: u8,
    chosen: Option<Vec<String>>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            header: HeaderRow::Present,
            missing: Missing::Refuse,
            separator: b',',
            chosen: None,
        }
    }
}

impl CsvOptions {
    /// Whether the first record names the columns.
    #[must_use]
    pub fn header(mut self, header: HeaderRow) -> Self {
        self.header = header;
        self
    }

    /// What missing values mean.
    #[must_use]
    pub fn missing(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// The byte between fields: `b','`, `b';'`, `b'\t'`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a quote, a line end or a byte outside ASCII.
    pub fn separator(mut self, separator: u8) -> Result<Self> {
        if !separator.is_ascii() || matches!(separator, b'"' | b'\n' | b'\r') {
            let message = format!("the byte {separator:#04x} cannot separate fields");
            return Err(Error::config(message).hint("use b',', b';', b'|', b' ' or b'\\t'"));
        }
        self.separator = separator;
        Ok(self)
    }

    /// Reads only the columns of these names, in this order; the others may hold anything.
    #[must_use]
    pub fn choose<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.chosen = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the file cannot be read; [`ErrorKind::Format`] if it is not UTF-8, holds
    /// records of different lengths, unclosed quotes or fields that are no numbers;
    /// [`ErrorKind::NonFinite`] for infinite and missing values; [`ErrorKind::Index`] if a chosen
    /// column does not exist or its name stands for several.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Table> {
        let path = path.as_ref();
        let mut input = bytes::open(path)?;
        let parse = |bytes| match String::from_utf8(bytes) {
            Ok(text) => self.parse(&text),
            Err(error) => {
                let n_valid = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..n_valid]
                    .iter()
                    .filter(|&&byte| byte == b'\n')
                    .count();
                Err(Error::format(format!(
                    "line {line}: byte {n_valid} of the file is not UTF-8 text"
                )))
            }
        };
        input
            .rest()
            .and_then(parse)
            .map_err(|error| error.context(path.display().to_string()))
    }

    /// Reads a table from text.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), without [`ErrorKind::Io`].
    pub fn parse(&self, text: &str) -> Result<Table> {
        let mut records = Records::new(text, self.separator);
        let mut record = Vec::new();
        let mut names = Vec::new();
        let mut first_row = None;
        if records.next_into(&mut record)? {
            match self.header {
                HeaderRow::Present => names.extend(record.iter().map(|field| field.text.trim().to_owned())),
                HeaderRow::Absent => {
                    names.extend((0..record.len()).map(|column| column.to_string()));
                    first_row = Some(std::mem::take(&mut record));
                }
            }
        }
        let (chosen, names) = self.choose_from(names)?;
        let mut values = Vec::new();
        if let Some(row) = first_row {
            self.append(&row, &chosen, &names, &mut values)?;
        }
        while records.next_into(&mut record)? {
            self.append(&record, &chosen, &names, &mut values)?;
        }
        let n_rows = values.len().checked_div(names.len()).unwrap_or(0);
        let values = Array2::from_shape_vec((n_rows, names.len()), values)?;
        Ok(Table { names, values })
    }

    /// The positions and names of the columns to be read.
    fn choose_from(&self, names: Vec<String>) -> Result<(Vec<usize>, Vec<String>)> {
        match &self.chosen {
            None => Ok(((0..names.len()).collect(), names)),
            Some(chosen) => {
                let positions = chosen
                    .iter()
                    .map(|name| position(&names, name))
                    .collect::<Result<_>>()?;
                Ok((positions, chosen.clone()))
            }
        }
    }

    fn append(
        &self,
        record: &[Field<'_>],
        chosen: &[usize],
        names: &[String],
        values: &mut Vec<f64>,
    ) -> Result<()> {
        for (&column, name) in chosen.iter().zip(names) {
            let field = &record[column];
            let value = self.number(field.text.trim()).map_err(|error| {
                error.context(format!("line {}, column {} (`{name}`)", field.line, column + 1))
            })?;
            values.push(value);
        }
        Ok(())
    }

    fn number(&self, text: &str) -> Result<f64> {
        if text.is_empty() || ["na", "nan"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return match self.missing {
                Missing::Nan => Ok(f64::NAN),
                Missing::Refuse => Err(Error::new(
                    ErrorKind::NonFinite,
                    format!("expected a number, found `{text}`"),
                )
                .hint("`Missing::Nan` reads missing values as NaN")),
            };
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) => Err(Error::new(
                ErrorKind::NonFinite,
                format!("expected a finite number, found `{text}`"),
            )),
            Err(_) => Err(
                Error::format(format!("expected a number, found `{}`", abridged(text)))
                    .hint("`choose` reads some columns only; text must be turned into numbers first"),
            ),
        }
    }
}

/// The numbers of a CSV file: one row for each record, one column for each that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    names: Vec<String>,
    values: Array2<f64>,
}

impl Table {
    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All numbers: `[n_rows, n_columns]`.
    pub fn values(&self) -> &Array2<f64> {
        &self.values
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.values.nrows()
    }

    /// One column: `[n_rows]`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Index`] if there is no column of this name, or more than one.
    pub fn column(&self, name: &str) -> Result<ArrayView1<'_, f64>> {
        position(&self.names, name).map(|column| self.values.column(column))
    }

    /// Several columns as `f32`, in the order of `names`: `[n_rows, names.len()]`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Index`] as [`column`](Self::column); [`ErrorKind::NonFinite`] if a number is beyond the
    /// range of `f32`.
    pub fn columns(&self, names: &[&str]) -> Result<Array2<f32>> {
        let positions = names
            .iter()
            .map(|name| position(&self.names, name))
            .collect::<Result<Vec<_>>>()?;
        let chosen = self.values.select(Axis(1), &positions);
        for ((row, column), value) in chosen.indexed_iter() {
            if value.is_finite() && !(*value as f32).is_finite() {
                let place = format!("row {row}, column `{}`", names[column]);
                let message = format!("{value:?} is beyond the range of f32");
                return Err(Error::new(ErrorKind::NonFinite, message).context(place));
            }
        }
        Ok(chosen.mapv(|value| value as f32))
    }

    /// One column as integers, such as class labels: `[n_rows]`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Index`] as [`column`](Self::column); [`ErrorKind::Label`] if a number has a fraction or
    /// does not fit the type.
    pub fn integers<T: TryFrom<i64>>(&self, name: &str) -> Result<Array1<T>> {
        // Integers up to this size are exact in f64.
        const MAX: f64 = (1_u64 << 53) as f64;
        let integer = |(row, &value): (usize, &f64)| {
            let whole = value.fract() == 0.0 && value.abs() <= MAX;
            whole
                .then_some(value as i64)
                .and_then(|value| T::try_from(value).ok())
                .ok_or_else(|| {
                    let message = format!("expected an integer of type {}", std::any::type_name::<T>());
                    Error::new(ErrorKind::Label, format!("{message}, found {value}"))
                        .context(format!("row {row}, column `{name}`"))
                })
        };
        self.column(name)?.iter().enumerate().map(integer).collect()
    }
}

/// Where a name stands, if it stands for one column.
fn position(names: &[String], name: &str) -> Result<usize> {
    let mut positions = (0..names.len()).filter(|&column| names[column] == name);
    match (positions.next(), positions.next()) {
        (Some(column), None) => Ok(column),
        (Some(first), Some(second)) => {
            let message = format!("columns {} and {} are both named `{name}`", first + 1, second + 1);
            Err(Error::new(ErrorKind::Index, message).hint("read the file with `HeaderRow::Absent`"))
        }
        (None, _) => {
            let message = format!("there is no column `{}`", abridged(name));
            let known = names.iter().map(|name| format!("`{}`", abridged(name))).take(20);
            let known = known.collect::<Vec<_>>().join(", ");
            Err(Error::new(ErrorKind::Index, message).hint(format!("the columns are {known}")))
        }
    }
}

/// At most the first 40 characters.
fn abridged(text: &str) -> String {
    match text.char_indices().nth(40) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::{TempFile, gzip};
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Table> {
        CsvOptions::default().parse(text)
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_quoted_names_spaces_and_all_line_ends() {
        let table = parse("\u{feff}a, \"b, \"\"c\"\"\" ,d\r\n1, 2e3 ,\"-3\"\n\n4,+5.5,.5").unwrap();
        assert_eq!(table.names(), ["a", "b, \"c\"", "d"]);
        assert_eq!(table.values(), array![[1.0, 2000.0, -3.0], [4.0, 5.5, 0.5]]);
        assert_eq!(table.column("d").unwrap(), array![-3.0, 0.5]);
    }

    #[test]
    fn headers_separators_and_empty_files() {
        let options = CsvOptions::default()
            .header(HeaderRow::Absent)
            .separator(b';')
            .unwrap();
        let table = options.parse("1;2\n3;4\n").unwrap();
        assert_eq!(
            (table.names(), table.n_rows()),
            (&["0".to_owned(), "1".to_owned()][..], 2)
        );
        assert_eq!(options.parse("").unwrap().values().dim(), (0, 0));
        assert_eq!(parse("a,b\n").unwrap().values().dim(), (0, 2));
        assert_eq!(options.separator(b'"').unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn unchosen_columns_may_hold_text() {
        let options = CsvOptions::default().choose(["c", "a"]);
        let table = options.parse("a,name,c\n1,\"two\nlines\",3\n4,x,6").unwrap();
        assert_eq!(table.values(), array![[3.0, 1.0], [6.0, 4.0]]);
        let error = options.parse("a,b\n1,2").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Index);
        assert_eq!(
            error.to_string(),
            "there is no column `c`; help: the columns are `a`, `b`"
        );
        let error = options.parse("a,c,a\n1,2,3").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("columns 1 and 3 are both named `a`")
        );
    }

    #[test]
    fn errors_name_line_and_column() {
        let text = message("a,b\n1,\"2\n\"\n3,x\n");
        assert!(
            text.starts_with("line 4, column 2 (`b`): expected a number, found `x`"),
            "{text}"
        );
        assert!(message("a,b\n1,\n").starts_with("line 2, column 2 (`b`): expected a number, found ``"));
        assert!(message("a\ninf\n").starts_with("line 2, column 1 (`a`): expected a finite number"));
        assert!(message("a,b\n1,2\n3\n").starts_with("line 3: expected 2 fields, found 1"));
        assert!(message("a,b\n1,2,3\n").starts_with("line 2: expected 2 fields, found 3"));
        assert!(message("a\n\"1\n2\n").starts_with("line 2: the quote that opens field 1 is never closed"));
        assert!(message("a\n\"1\"2\n").starts_with("line 2: field 1 goes on after its closing quote"));
    }

    #[test]
    fn missing_values_are_refused_or_nan() {
        let table = CsvOptions::default()
            .missing(Missing::Nan)
            .parse("a,b\n,1\nNA,nan\n")
            .unwrap();
        assert!(table.column("a").unwrap().iter().all(|value| value.is_nan()));
        assert_eq!(table.values()[[0, 1]], 1.0);
        assert_eq!(parse("a\nNaN\n").unwrap_err().kind(), ErrorKind::NonFinite);
    }

    #[test]
    fn conversions_check_their_range() {
        let table = parse("x,label\n1.5,3\n1e300,-1\n").unwrap();
        assert!(
            table
                .columns(&["x"])
                .unwrap_err()
                .to_string()
                .contains("row 1, column `x`: 1e300 is beyond")
        );
        assert_eq!(table.integers::<i32>("label").unwrap(), array![3, -1]);
        let error = table.integers::<u8>("label").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Label);
        assert_eq!(
            error.to_string(),
            "row 1, column `label`: expected an integer of type u8, found -1"
        );
        assert!(table.integers::<i64>("x").is_err());
    }

    #[test]
    fn files_may_be_packed_and_must_be_text() {
        let file = TempFile::new("table.csv", &gzip(b"a\n1\n"));
        assert_eq!(
            CsvOptions::default().read(&file.0).unwrap().values(),
            array![[1.0]]
        );
        let file = TempFile::new("latin1.csv", b"a\n1\n\xfc\n");
        let error = CsvOptions::default().read(&file.0).unwrap_err().to_string();
        assert!(
            error.contains("latin1.csv: line 3: byte 4 of the file is not UTF-8"),
            "{error}"
        );
        assert_eq!(
            CsvOptions::default().read("no/such.csv").unwrap_err().kind(),
            ErrorKind::Io
        );
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "[\"\\n\\r,;a1.e ü-]{0,60}") {
            let _ = parse(&text);
            let _ = CsvOptions::default().header(HeaderRow::Absent).missing(Missing::Nan).parse(&text);
        }

        #[test]
        fn numbers_survive_printing(rows in proptest::collection::vec((any::<f64>(), -1e9..1e9), 1..20)) {
            let rows: Vec<_> = rows.into_iter().filter(|row| row.0.is_finite()).collect();
            let text = rows.iter().map(|(a, b)| format!("{a},\"{b}\"\n")).collect::<String>();
            let table = CsvOptions::default().header(HeaderRow::Absent).parse(&text).unwrap();
            let expected: Vec<f64> = rows.iter().flat_map(|row| [row.0, row.1]).collect();
            prop_assert_eq!(table.values().iter().copied().collect::<Vec<_>>(), expected);
        }
    }
}
