use super::*;
use rstest::rstest;

fn figures(counts: [u32; 4], seen: u64) -> KindFigures {
    let sample = Sample { kind: Kind::UserId, identifiers: Vec::new(), seen, is_all: false };
    let [known, identified, unknown, cannot_tell] = counts;
    let sampled = counts.iter().sum();
    KindFigures { sampled, known, identified, unknown, cannot_tell, ..KindFigures::new(&sample, &[], &[]) }
}

#[rstest]
#[case([372, 0, 28, 0], 118_204, 109_900)]
#[case([1, 0, 1, 0], 3, 2)]
#[case([0, 0, 9, 0], 1_000_000, 0)]
#[case([400, 0, 0, 0], 1_234, 1_234)]
#[case([400, 0, 0, 0], 12_345, 12_350)]
#[case([0, 0, 0, 5], 12_345, 0)]
fn how_many_are_known_is_said_in_four_digits(#[case] counts: [u32; 4], #[case] seen: u64, #[case] about: u64) {
    assert_eq!(figures(counts, seen).about(), about);
}

#[test]
fn what_cannot_be_told_may_be_known_or_not() {
    let (sure, unsure) = (figures([300, 0, 100, 0], 9_999), figures([300, 0, 0, 100], 9_999));
    assert_eq!(unsure.interval().low.to_bits(), sure.interval().low.to_bits());
    assert!(unsure.interval().high > 0.99 && (unsure.share() - 1.0).abs() < 1e-9, "{:?}", unsure.interval());
}

#[rstest]
#[case::surely_fewer([320, 0, 80, 0], 90, true)]
#[case::perhaps_as_many([320, 0, 80, 0], 83, false)]
#[case::identified_devices_are_not_reached([10, 80, 10, 0], 50, true)]
#[case::nothing_asked([0, 0, 0, 0], 100, false)]
fn a_kind_is_too_few_if_even_the_upper_end_is_below(
    #[case] counts: [u32; 4],
    #[case] min_match: u32,
    #[case] expected: bool,
) {
    let figures = Figures { kinds: vec![figures(counts, 50_000)], requests: 8 };
    assert_eq!(figures.too_few(min_match).is_some(), expected);
}
