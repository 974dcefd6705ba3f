//! Figures beside their bars.

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// Speed: as much or more.
    AtLeast(f64),
    /// Cost: less.
    Below(f64),
    /// A count of hits that must be right; a miss fails the run.
    Exactly(f64),
    /// Told for comparison.
    None,
}

struct Figure {
    section: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
    bar: Bar,
}

/// Every figure of the run.
#[derive(Default)]
pub struct Scoreboard {
    figures: Vec<Figure>,
    skipped: Vec<String>,
}

impl Scoreboard {
    /// Opens a section on the terminal.
    pub fn open(&self, title: &str) {
        println!("\n== {title}");
    }

    /// Notes a figure and shows it at once.
    pub fn add(
        &mut self,
        section: &'static str,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        bar: Bar,
    ) {
        let figure = Figure {
            section,
            name: name.into(),
            value,
            unit,
            bar,
        };
        println!("  {}", figure.line());
        self.figures.push(figure);
    }

    /// Notes what could not be measured, and why.
    pub fn skip(&mut self, section: &'static str, why: &str) {
        println!("\n== {section}: left out, {why}");
        self.skipped.push(format!("{section}: {why}"));
    }

    /// Whether no hit was lost or stored twice.
    pub fn is_sound(&self) -> bool {
        !self
            .figures
            .iter()
            .any(|figure| matches!(figure.bar, Bar::Exactly(_)) && figure.holds() == Some(false))
    }

    /// The whole table.
    pub fn print(&self) {
        println!("\n== all figures");
        for figure in &self.figures {
            println!("  {:<10} {}", figure.section, figure.line());
        }
        for skipped in &self.skipped {
            println!("  left out   {skipped}");
        }
        let held: Vec<bool> = self.figures.iter().filter_map(Figure::holds).collect();
        println!(
            "  {} of {} bars held",
            held.iter().filter(|held| **held).count(),
            held.len()
        );
    }
}

impl Figure {
    fn holds(&self) -> Option<bool> {
        match self.bar {
            Bar::AtLeast(bar) => Some(self.value >= bar),
            Bar::Below(bar) => Some(self.value < bar),
            Bar::Exactly(bar) => Some(self.value == bar),
            Bar::None => None,
        }
    }

    fn line(&self) -> String {
        let unit = self.unit;
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!("bar at least {} {unit}", number(bar)),
            Bar::Below(bar) => format!("bar below {} {unit}", number(bar)),
            Bar::Exactly(bar) => format!("must be {} {unit}", number(bar)),
            Bar::None => String::new(),
        };
        let verdict = match self.holds() {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        };
        format!(
            "{:<46} {:>12} {unit:<8} {bar:<30} {verdict}",
            self.name,
            number(self.value)
        )
        .trim_end()
        .to_owned()
    }
}

/// Large figures in groups of three digits, small ones with their decimals.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 {
        grouped.insert(0, '-');
    }
    grouped
}

/// The middle of some measurements; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}
