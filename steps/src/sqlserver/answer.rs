//! An answer's rows, read by name and by what a value means, whatever width the server gave it: [`Answer`], [`Row`].

use std::sync::Arc;

use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};
use drydock_recovery::guid::Guid;
use drydock_recovery::lsn::Lsn;
use drydock_step::StepError;
use drydock_step::target::RowSet;
use serde_json::{Map, Value, json};
use tiberius::{ColumnData, ColumnType};

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name; may be empty.
    name: String,
    /// Whether it is `money` or `smallmoney`, which the library reads as a floating-point number.
    is_money: bool,
}

impl Column {
    /// As the server describes it.
    pub(super) fn of(column: &tiberius::Column) -> Self {
        let is_money = matches!(column.column_type(), ColumnType::Money | ColumnType::Money4);
        Self { name: column.name().to_owned(), is_money }
    }
}

#[cfg(test)]
impl Column {
    /// Of this name, and of any type but money.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), is_money: false }
    }
}

/// The amount from which a floating-point number does not hold all ten-thousandths: 2^51 of them.
const LARGEST_MONEY: f64 = 225_179_981_368.524;

/// One result set of an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    columns: Arc<Vec<Column>>,
    rows: Vec<Vec<ColumnData<'static>>>,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    columns: &'a [Column],
    cells: &'a [ColumnData<'static>],
}

impl Answer {
    /// With these columns and no rows yet.
    pub(super) fn new(columns: Vec<Column>) -> Self {
        Self { columns: Arc::new(columns), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, cells: Vec<ColumnData<'static>>) {
        self.rows.push(cells);
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { columns: &self.columns, cells })
    }

    /// The only row, or the first.
    ///
    /// # Errors
    /// `sqlserver.answer`, when there is none.
    pub(super) fn first(&self) -> Result<Row<'_>, StepError> {
        self.rows().next().ok_or_else(|| StepError::new("sqlserver.answer", "the server answered no row"))
    }

    /// As plain data: times in RFC 3339 (those without a zone as UTC), decimals and money as text, binary as `0x…`.
    ///
    /// # Errors
    /// `query.money`, for an amount that was read with less than all its digits.
    pub(super) fn row_set(&self) -> Result<RowSet, StepError> {
        let columns = distinct(&self.columns);
        let row = |cells: &Vec<ColumnData<'static>>| -> Result<Map<String, Value>, StepError> {
            let described = self.columns.iter().zip(cells);
            let values = described.map(|(column, cell)| match cell {
                ColumnData::F64(Some(amount)) if column.is_money => money(&column.name, *amount),
                cell => Ok(as_json(cell)),
            });
            columns.iter().cloned().zip(values).map(|(name, value)| Ok((name, value?))).collect()
        };
        Ok(RowSet { rows: self.rows.iter().map(row).collect::<Result<_, _>>()?, columns })
    }
}

/// An amount with its four places. The library has divided it by 10,000, which can be undone up to a size.
fn money(column: &str, amount: f64) -> Result<Value, StepError> {
    if amount.abs() >= LARGEST_MONEY {
        let message = format!("an amount of `{column}` has more digits than can be read of `money`");
        return Err(StepError::new("query.money", message)
            .help(format!("ask for CAST({column} AS decimal(19, 4)), which is read digit by digit")));
    }
    // Below 2^51 ten-thousandths the error of the division is less than a half of one.
    let scaled = (amount * 10_000.0).round() as i128;
    Ok(decimal(scaled, 4).into())
}

/// Names for columns that have none, and second names for those that share one.
fn distinct(columns: &[Column]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let base = if column.name.is_empty() { format!("column_{}", at + 1) } else { column.name.clone() };
        let mut name = base.clone();
        let mut n = 1;
        while names.contains(&name) {
            n += 1;
            name = format!("{base}_{n}");
        }
        names.push(name);
    }
    names
}

impl<'a> Row<'a> {
    /// The cell of this column; names count in any case. An absent column is as NULL: older servers have fewer.
    fn cell(&self, column: &str) -> Option<&'a ColumnData<'static>> {
        let at = self.columns.iter().position(|known| known.name.eq_ignore_ascii_case(column))?;
        self.cells.get(at)
    }

    fn read<T>(
        &self,
        column: &str,
        what: &str,
        as_what: impl FnOnce(&'a ColumnData<'static>) -> Option<Option<T>>,
    ) -> Result<Option<T>, StepError> {
        let Some(cell) = self.cell(column) else { return Ok(None) };
        as_what(cell).ok_or_else(|| {
            let message = format!("the server answered {cell:?} for `{column}`, which is no {what}");
            StepError::new("sqlserver.answer", message)
        })
    }

    /// A whole number of any width.
    pub(super) fn number(&self, column: &str) -> Result<Option<i64>, StepError> {
        self.read(column, "whole number", as_i64)
    }

    /// A floating-point number.
    pub(super) fn real(&self, column: &str) -> Result<Option<f64>, StepError> {
        self.read(column, "number", |cell| match cell {
            ColumnData::F32(number) => Some(number.map(f64::from)),
            ColumnData::F64(number) => Some(*number),
            _ => None,
        })
    }

    /// A log sequence number; 0 stays 0.
    pub(super) fn lsn(&self, column: &str) -> Result<Option<Lsn>, StepError> {
        self.read(column, "log sequence number", as_lsn)
    }

    /// A text, without the blanks that fixed-length columns end with.
    pub(super) fn text(&self, column: &str) -> Result<Option<&'a str>, StepError> {
        self.read(column, "text", as_text)
    }

    /// A time without a zone, as the server keeps it.
    pub(super) fn time(&self, column: &str) -> Result<Option<NaiveDateTime>, StepError> {
        self.read(column, "time", as_time)
    }

    /// The offset from UTC of a `datetimeoffset`, in minutes.
    pub(super) fn offset(&self, column: &str) -> Result<Option<i16>, StepError> {
        self.read(column, "time with a zone", |cell| match cell {
            ColumnData::DateTimeOffset(time) => Some(time.map(|time| time.offset())),
            _ => None,
        })
    }

    /// A GUID, in small letters.
    pub(super) fn guid(&self, column: &str) -> Result<Option<Guid>, StepError> {
        self.read(column, "GUID", as_guid)
    }

    /// A bit, or a number that stands for one.
    pub(super) fn flag(&self, column: &str) -> Result<bool, StepError> {
        Ok(self.number(column)?.is_some_and(|number| number != 0))
    }

    /// Binary data as `0x…`.
    pub(super) fn hex(&self, column: &str) -> Result<Option<String>, StepError> {
        self.read(column, "binary value", |cell| match cell {
            ColumnData::Binary(bytes) => Some(bytes.as_ref().map(|bytes| hex(bytes))),
            _ => None,
        })
    }
}

/// A value that has to be there.
///
/// # Errors
/// `sqlserver.answer`, naming the column that is NULL or missing.
pub(super) fn present<T>(value: Option<T>, column: &str) -> Result<T, StepError> {
    value.ok_or_else(|| StepError::new("sqlserver.answer", format!("the server answered no `{column}`")))
}

fn as_i64(cell: &ColumnData<'static>) -> Option<Option<i64>> {
    Some(match cell {
        ColumnData::U8(n) => n.map(i64::from),
        ColumnData::I16(n) => n.map(i64::from),
        ColumnData::I32(n) => n.map(i64::from),
        ColumnData::I64(n) => *n,
        ColumnData::Bit(n) => n.map(i64::from),
        ColumnData::Numeric(None) | ColumnData::String(None) => None,
        ColumnData::Numeric(Some(n)) if n.scale() == 0 => Some(i64::try_from(n.value()).ok()?),
        _ => return None,
    })
}

fn as_lsn(cell: &ColumnData<'static>) -> Option<Option<Lsn>> {
    let text = match cell {
        ColumnData::Numeric(None) | ColumnData::String(None) => return Some(None),
        ColumnData::Numeric(Some(n)) if n.scale() == 0 => n.value().to_string(),
        ColumnData::String(Some(text)) => text.to_string(),
        other => match as_i64(other)? {
            Some(number) => number.to_string(),
            None => return Some(None),
        },
    };
    Lsn::parse(&text).ok().map(Some)
}

fn as_text<'a>(cell: &'a ColumnData<'static>) -> Option<Option<&'a str>> {
    match cell {
        ColumnData::String(text) => Some(text.as_deref().map(str::trim_end)),
        _ => None,
    }
}

fn as_guid(cell: &ColumnData<'static>) -> Option<Option<Guid>> {
    match cell {
        ColumnData::Guid(guid) => Some(guid.map(|guid| Guid::new(guid.to_string()))),
        _ => None,
    }
}

fn as_time(cell: &ColumnData<'static>) -> Option<Option<NaiveDateTime>> {
    Some(match cell {
        ColumnData::DateTime(None) | ColumnData::SmallDateTime(None) | ColumnData::DateTime2(None) => None,
        ColumnData::DateTime(Some(time)) => {
            // Its unit is a 300th of a second.
            let millis = (i64::from(time.seconds_fragments()) * 10 + 1) / 3;
            Some(day(1900, i64::from(time.days()))?.checked_add_signed(Duration::milliseconds(millis))?)
        }
        ColumnData::SmallDateTime(Some(time)) => {
            let minutes = Duration::minutes(i64::from(time.seconds_fragments()));
            Some(day(1900, i64::from(time.days()))?.checked_add_signed(minutes)?)
        }
        ColumnData::DateTime2(Some(time)) => {
            let (date, time) = (time.date(), time.time());
            Some(day(1, i64::from(date.days()))?.checked_add_signed(since_midnight(time)?)?)
        }
        _ => return None,
    })
}

fn day(year: i32, days: i64) -> Option<NaiveDateTime> {
    let begin = NaiveDate::from_ymd_opt(year, 1, 1)?;
    Some(begin.checked_add_signed(Duration::try_days(days)?)?.and_time(NaiveTime::MIN))
}

fn since_midnight(time: tiberius::time::Time) -> Option<Duration> {
    let unit = 10_u64.checked_pow(9_u32.checked_sub(u32::from(time.scale()))?)?;
    Some(Duration::nanoseconds(i64::try_from(time.increments().checked_mul(unit)?).ok()?))
}

/// A value as JSON. A time that no calendar has is null.
fn as_json(cell: &ColumnData<'static>) -> Value {
    let found = match cell {
        ColumnData::Bit(bit) => bit.map(Value::from),
        ColumnData::U8(_) | ColumnData::I16(_) | ColumnData::I32(_) | ColumnData::I64(_) => {
            as_i64(cell).flatten().map(Value::from)
        }
        // By way of its shortest text: 0.1 as a `real` is 0.1 and not 0.10000000149.
        ColumnData::F32(number) => number.and_then(|n| n.to_string().parse::<f64>().ok()).map(|n| json!(n)),
        ColumnData::F64(number) => number.map(|n| json!(n)),
        ColumnData::Numeric(number) => number.map(|n| decimal(n.value(), n.scale()).into()),
        ColumnData::String(text) => text.as_deref().map(Value::from),
        ColumnData::Xml(text) => text.as_ref().map(|text| text.to_string().into()),
        ColumnData::Guid(guid) => guid.map(|guid| guid.to_string().into()),
        ColumnData::Binary(bytes) => bytes.as_ref().map(|bytes| hex(bytes).into()),
        ColumnData::Date(date) => {
            date.and_then(|date| day(1, i64::from(date.days()))).map(|day| day.date().to_string().into())
        }
        ColumnData::Time(time) => {
            let time = time.and_then(since_midnight).map(|since| NaiveTime::MIN + since);
            time.map(|time| time.to_string().into())
        }
        ColumnData::DateTime(_) | ColumnData::SmallDateTime(_) | ColumnData::DateTime2(_) => {
            as_time(cell).flatten().map(|time| rfc_3339(time).into())
        }
        ColumnData::DateTimeOffset(time) => time.and_then(zoned).map(Value::from),
    };
    found.unwrap_or(Value::Null)
}

/// A time without a zone, taken as UTC.
fn rfc_3339(time: NaiveDateTime) -> String {
    time.and_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn zoned(time: tiberius::time::DateTimeOffset) -> Option<String> {
    let parts = time.datetime2();
    let utc = day(1, i64::from(parts.date().days()))?.checked_add_signed(since_midnight(parts.time())?)?;
    let offset = FixedOffset::east_opt(i32::from(time.offset()) * 60)?;
    let local = DateTime::<FixedOffset>::from_naive_utc_and_offset(utc, offset);
    Some(local.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// A decimal number as text, with as many places as its column has.
fn decimal(value: i128, scale: u8) -> String {
    let digits = value.unsigned_abs().to_string();
    let sign = if value < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, places) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{places}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use tiberius::numeric::Numeric;
    use tiberius::time::{Date, DateTime as WireDateTime, DateTime2, DateTimeOffset, SmallDateTime, Time};

    use super::*;

    fn answer(cells: Vec<(&str, ColumnData<'static>)>) -> Answer {
        let (columns, cells) = cells.into_iter().map(|(name, cell)| (Column::named(name), cell)).unzip();
        let mut answer = Answer::new(columns);
        answer.push(cells);
        answer
    }

    fn numeric(value: i128, scale: u8) -> ColumnData<'static> {
        ColumnData::Numeric(Some(Numeric::new_with_scale(value, scale)))
    }

    #[test]
    fn numbers_and_lsns_come_in_any_width() {
        for (cell, number) in [
            (ColumnData::U8(Some(5)), 5),
            (ColumnData::I16(Some(-2)), -2),
            (ColumnData::I32(Some(7)), 7),
            (ColumnData::I64(Some(1 << 40)), 1 << 40),
            (ColumnData::Bit(Some(true)), 1),
            (numeric(42, 0), 42),
        ] {
            let answer = answer(vec![("N", cell)]);
            assert_eq!(answer.first().unwrap().number("n"), Ok(Some(number)));
        }
        let answer =
            answer(vec![("l", numeric(17_126_658_000_000_314_600_038, 0)), ("z", ColumnData::Numeric(None))]);
        let row = answer.first().unwrap();
        assert_eq!(row.lsn("l").unwrap().unwrap().to_string(), "17126658000000314600038");
        assert_eq!((row.lsn("z"), row.lsn("absent")), (Ok(None), Ok(None)));
        let error = row.number("l").unwrap_err();
        assert!(error.code == "sqlserver.answer" && error.message.contains("`l`"), "{error}");
    }

    #[test]
    fn texts_times_and_guids_are_read() {
        let guid = uuid::Uuid::from_u128(0xCBE0_3448_EBD3_0000_0000_0000_0000_0001);
        let answer = answer(vec![
            ("type", ColumnData::String(Some(Cow::Borrowed("D ")))),
            ("at", ColumnData::DateTime(Some(WireDateTime::new(46_216, 3_420_037)))),
            ("id", ColumnData::Guid(Some(guid))),
            (
                "clock",
                ColumnData::DateTimeOffset(Some(DateTimeOffset::new(
                    DateTime2::new(Date::new(739_811), Time::new(0, 7)),
                    120,
                ))),
            ),
        ]);
        let row = answer.first().unwrap();
        assert_eq!(row.text("TYPE"), Ok(Some("D")));
        assert_eq!(row.time("at").unwrap().unwrap().to_string(), "2026-07-15 03:10:00.123");
        assert_eq!(row.guid("id").unwrap().unwrap().as_str(), "cbe03448-ebd3-0000-0000-000000000001");
        assert_eq!(row.offset("clock"), Ok(Some(120)));
        assert!(row.text("at").unwrap_err().message.contains("no text"));
        assert!(Answer::default().first().is_err());
        assert!(present(None::<i64>, "lsn").unwrap_err().message.ends_with("no `lsn`"));
    }

    #[test]
    fn values_become_json_without_loss() {
        let day = Date::new(739_811);
        for (cell, expected) in [
            (ColumnData::I64(Some(i64::MAX)), json!(i64::MAX)),
            (numeric(-1_234_567_890_123_456_789_012_345, 5), json!("-12345678901234567890.12345")),
            (numeric(7, 3), json!("0.007")),
            (ColumnData::F32(Some(0.1)), json!(0.1)),
            (ColumnData::Bit(Some(false)), json!(false)),
            (ColumnData::Binary(Some(Cow::Borrowed(&[0xAB, 1]))), json!("0xab01")),
            (ColumnData::Date(Some(day)), json!("2026-07-15")),
            (ColumnData::Time(Some(Time::new(11_400_500, 3))), json!("03:10:00.500")),
            (
                ColumnData::DateTime2(Some(DateTime2::new(day, Time::new(11_400, 0)))),
                json!("2026-07-15T03:10:00Z"),
            ),
            (
                ColumnData::DateTimeOffset(Some(DateTimeOffset::new(
                    DateTime2::new(day, Time::new(0, 0)),
                    -90,
                ))),
                json!("2026-07-14T22:30:00-01:30"),
            ),
            (ColumnData::SmallDateTime(Some(SmallDateTime::new(0, 61))), json!("1900-01-01T01:01:00Z")),
            (ColumnData::DateTime2(Some(DateTime2::new(day, Time::new(u64::MAX, 7)))), Value::Null),
            (ColumnData::String(None), Value::Null),
        ] {
            let found = answer(vec![("x", cell.clone())]).row_set().unwrap();
            assert_eq!(found.rows[0]["x"], expected, "{cell:?}");
        }
    }

    #[test]
    fn money_keeps_its_places_or_is_refused() {
        let set = |amount| {
            let mut answer = Answer::new(vec![Column { name: "fee".into(), is_money: true }]);
            answer.push(vec![ColumnData::F64(amount)]);
            answer.row_set()
        };
        for (ten_thousandths, text) in [
            (1_i64, "0.0001"),
            (-12_345, "-1.2345"),
            (2_251_799_813_685_239, "225179981368.5239"),
            (-2_251_799_813_685_237, "-225179981368.5237"),
        ] {
            let read = ten_thousandths as f64 / 1e4;
            assert_eq!(set(Some(read)).unwrap().rows[0]["fee"], json!(text));
        }
        assert_eq!(set(None).unwrap().rows[0]["fee"], Value::Null);
        let error = set(Some(922_337_203_685_477.6)).unwrap_err();
        assert!(error.code == "query.money" && error.help.unwrap().contains("CAST(fee AS decimal(19, 4))"));
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let one = || ColumnData::I32(Some(1));
        let found = answer(vec![("", one()), ("n", one()), ("n", one())]).row_set().unwrap();
        assert_eq!(found.columns, ["column_1", "n", "n_2"]);
        assert_eq!(found.rows[0].len(), 3);
    }
}
