//! The members of the benchmarks: the same for the same number of rows, on every machine.

/// The columns of the wide input; four of them hold identifiers.
pub const WIDE_HEADER: [&str; 10] =
    ["time", "user_ids", "given_name", "device_ids", "email", "plan", "phone", "remark", "spent", "updated_at"];

/// Where the columns with identifiers are in the wide input.
pub const WIDE_IDENTIFIERS: [usize; 4] = [1, 3, 4, 6];

/// Numbers that look random (`SplitMix64`).
pub struct Numbers(u64);

impl Numbers {
    /// Those of one row.
    pub fn of_row(row: u64) -> Self {
        Self(row.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 36 characters, as most identifiers have.
    pub fn draw_uuid(&mut self) -> String {
        let (high, low) = (self.draw(), self.draw());
        let (time, version) = ((high >> 16) & 0xffff, high & 0xfff);
        let (variant, node) = (0x8000 | (low >> 50), low & 0xffff_ffff_ffff);
        format!("{:08x}-{time:04x}-4{version:03x}-{variant:04x}-{node:012x}", high >> 32)
    }
}

/// An external ID alone.
pub fn narrow_row(row: u64) -> Vec<String> {
    vec![Numbers::of_row(row).draw_uuid()]
}

/// A row of [`WIDE_HEADER`]. Of 20 rows 4 have no device and 5 no phone, so that a million rows hold 3.55 million identifiers;
/// one address of 500 has quotes and a backslash in it, and one remark of three has quotes and commas.
pub fn wide_row(row: u64) -> Vec<String> {
    const NAMES: [&str; 6] = ["Ines", "Jürgen", "さくら", "Bo", "Łucja", "Amara"];
    const PLANS: [&str; 4] = ["free", "basic", "family", "business"];
    let mut numbers = Numbers::of_row(row);
    let (user_id, device) = (numbers.draw_uuid(), numbers.draw_uuid());
    let (a, b) = (numbers.draw(), numbers.draw());
    let pick = |from: &[&str], number: u64| from[usize::try_from(number).unwrap_or_default() % from.len()].to_owned();
    let email = match row % 500 {
        250 => format!("\"in\\{row}\"@example.org"),
        _ => format!("member{:x}@mail.example.org", a >> 20),
    };
    let phone = format!("+49151{:08}", b % 100_000_000);
    let remark = match row % 3 {
        0 => format!("asked for \"{}\", then called back", b % 90),
        _ => String::new(),
    };
    vec![
        (1_700_000_000 + row).to_string(),
        user_id,
        pick(&NAMES, a % 6),
        if row % 5 == 2 { String::new() } else { device },
        email,
        pick(&PLANS, b % 4),
        if row % 4 == 1 { String::new() } else { phone },
        remark,
        format!("{}.{:02}", a % 5_000, b % 100),
        format!("2026-{:02}-{:02} {:02}:{:02}:00", a % 12 + 1, b % 28 + 1, a % 24, b % 60),
    ]
}
