//! Turning data into the order that tensors have.

/// Reverses the bytes of each element of `size` bytes.
pub(super) fn swap_bytes(data: &mut [u8], size: usize) {
    if size > 1 {
        for element in data.chunks_exact_mut(size) {
            element.reverse();
        }
    }
}

/// Copies elements of `size` bytes from column-major order (the first dimension runs fastest) into row-major order.
/// Both slices hold the elements of `dims`, no more.
pub(super) fn to_row_major(from: &[u8], to: &mut [u8], dims: &[u64], size: usize) {
    // Where the elements are as many as there are bytes, lengths and strides fit into memory and so into a usize; where
    // there are none, nothing is copied.
    if from.is_empty() {
        return;
    }
    let mut stride = size;
    let mut axes: Vec<Axis> = Vec::with_capacity(dims.len());
    for &len in dims {
        let len = len as usize;
        axes.push(Axis { len, stride, at: 0 });
        stride *= len;
    }
    let mut offset = 0;
    for element in to.chunks_exact_mut(size) {
        element.copy_from_slice(&from[offset..offset + size]);
        // As an odometer counts: the last dimension first, with a carry into the one before it.
        for axis in axes.iter_mut().rev() {
            axis.at += 1;
            offset += axis.stride;
            if axis.at < axis.len {
                break;
            }
            offset -= axis.stride * axis.len;
            axis.at = 0;
        }
    }
}

/// A dimension: its length in elements, its stride in bytes, and where the odometer stands.
struct Axis {
    len: usize,
    stride: usize,
    at: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        fn check(from: &[u8], dims: &[u64], size: usize, expected: &[u8]) {
            let mut to = vec![0; from.len()];
            to_row_major(from, &mut to, dims, size);
            assert_eq!(to, expected);
        }
        check(&[1, 4, 2, 5, 3, 6], &[2, 3], 1, &[1, 2, 3, 4, 5, 6]);
        check(&[1, 1, 3, 3, 2, 2, 4, 4], &[2, 2], 2, &[1, 1, 2, 2, 3, 3, 4, 4]);
        check(&[0, 4, 2, 6, 1, 5, 3, 7], &[2, 2, 2], 1, &[0, 1, 2, 3, 4, 5, 6, 7]);
        check(&[9], &[], 1, &[9]);
        check(&[], &[0, u64::MAX, 5], 4, &[]);
    }

    #[test]
    fn bytes_of_each_element_are_reversed() {
        let mut data = [1, 2, 3, 4, 5, 6, 7, 8];
        swap_bytes(&mut data, 4);
        assert_eq!(data, [4, 3, 2, 1, 8, 7, 6, 5]);
        swap_bytes(&mut data, 1);
        assert_eq!(data, [4, 3, 2, 1, 8, 7, 6, 5]);
    }
}
