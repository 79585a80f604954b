//! The packed form: DEFLATE against a dictionary that ends with what the row's own columns say.
//!
//! Byte 0 is the form. Of form 1: four bytes CRC-32 of the plain bytes, their length as a varint of seven bits a byte,
//! and the DEFLATE stream. The dictionary is part of the form and never changes; another one is another form.

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

const FORM: u8 = 1;

/// The members of events, facts and notifications, the most frequent last.
const DICTIONARY: &[u8] = include_bytes!("dictionary_1.txt");

/// 16 KiB: the dictionary, and a row's texts behind it.
const WINDOW_BITS: u8 = 14;

/// Longer texts stay as they are; packed bytes that claim more are refused before anything is allocated.
const MOST: usize = 1 << 20;

/// Why packed bytes cannot be read. None of their content is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A later version wrote them, or they are no packed bytes.
    #[error("packed bytes of an unknown form")]
    Form,
    /// They end before the text does.
    #[error("packed bytes are cut off")]
    CutOff,
    /// More than any packed text has.
    #[error("packed bytes claim to be longer than any packed text")]
    TooLong,
    /// They changed, or a column that they were packed with did.
    #[error("packed bytes are damaged")]
    Damaged,
}

/// Packs bytes; none where that would not make them shorter. `context` is what the row's other columns say: what
/// stands there costs next to nothing here, and must be the same when the bytes are read.
pub fn pack(context: &[&str], plain: &[u8]) -> Option<Vec<u8>> {
    if plain.len() > MOST {
        return None;
    }
    let mut packed = Vec::with_capacity(plain.len());
    packed.push(FORM);
    packed.extend(checksum(plain).to_be_bytes());
    write_length(&mut packed, plain.len());
    let mut deflate = Compress::new_with_window_bits(Compression::best(), false, WINDOW_BITS);
    deflate.set_dictionary(&dictionary(context)).ok()?;
    // The capacity is the bound: what does not fit is not shorter than before.
    match deflate.compress_vec(plain, &mut packed, FlushCompress::Finish) {
        Ok(Status::StreamEnd) if packed.len() < plain.len() => Some(packed),
        Ok(_) | Err(_) => None,
    }
}

/// The bytes that were packed with the same context.
pub fn unpack(context: &[&str], packed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let (form, rest) = packed.split_first().ok_or(Unreadable::CutOff)?;
    if *form != FORM {
        return Err(Unreadable::Form);
    }
    let (sum, rest) = rest.split_first_chunk::<4>().ok_or(Unreadable::CutOff)?;
    let (length, stream) = read_length(rest)?;
    let mut inflate = Decompress::new_with_window_bits(false, WINDOW_BITS);
    inflate.set_dictionary(&dictionary(context)).map_err(|_| Unreadable::Damaged)?;
    // One byte more than it should need, so that a stream that goes on is found out and not cut.
    let mut plain = Vec::with_capacity(length + 1);
    match inflate.decompress_vec(stream, &mut plain, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if plain.len() == length && checksum(&plain) == u32::from_be_bytes(*sum) => Ok(plain),
        Ok(Status::BufError) if plain.len() < length => Err(Unreadable::CutOff),
        Ok(_) | Err(_) => Err(Unreadable::Damaged),
    }
}

fn dictionary(context: &[&str]) -> Vec<u8> {
    let mut dictionary = DICTIONARY.to_vec();
    for text in context {
        dictionary.extend_from_slice(text.as_bytes());
        dictionary.push(b'\n');
    }
    dictionary
}

fn checksum(plain: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(plain);
    crc.sum()
}

fn write_length(packed: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length % 128).unwrap_or_default();
        length /= 128;
        if length == 0 {
            return packed.push(low);
        }
        packed.push(0x80 | low);
    }
}

fn read_length(bytes: &[u8]) -> Result<(usize, &[u8]), Unreadable> {
    let mut length = 0;
    for (i, byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return if length <= MOST { Ok((length, &bytes[i + 1..])) } else { Err(Unreadable::TooLong) };
        }
    }
    Err(if bytes.len() < 4 { Unreadable::CutOff } else { Unreadable::TooLong })
}
