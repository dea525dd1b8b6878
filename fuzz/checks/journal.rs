//! Reading a journal of any bytes: what is given back is what its whole batches say, however it is damaged.

use drydock_run::journal::read;

/// Any bytes as a journal.
pub fn check(bytes: &[u8]) {
    if let Ok(journaled) = read(bytes) {
        let good = usize::try_from(journaled.good_len).expect("it lies within the bytes");
        let again = read(&bytes[..good]).expect("what is good by itself is good");
        assert_eq!(again.events, journaled.events);
        assert_eq!((again.next_seq, again.last_crc), (journaled.next_seq, journaled.last_crc));
    }
}
