// What a call is: shapes, pointers, how it is cut into tasks. Shared by all instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// Small functions, and everything that is shared by instruction sets: a copy left standing by
// itself might be compiled for AVX-512 and then be the one that the linker keeps for all.
#define STN_INLINE inline __attribute__((always_inline))
// Functions compiled once and called: what is not in an inner loop, or is one.
#define STN_NOINLINE __attribute__((noinline))

// Loops over taps, axes and lanes: their counts are known, and so few that they are written out.
#define STN_LAMBDA __attribute__((always_inline))
#define STN_UNROLL _Pragma("GCC unroll 64")

namespace stn {

enum Kernel : int64_t { kNearest = 0, kLinear = 1, kCubic = 2 };
// zeros and fill are one padding; reflection is mirror when the corners are aligned
enum Padding : int64_t { kConstant = 0, kBorder = 1, kReflection = 2, kMirror = 3, kWrap = 4 };
// How images are stored; they are computed with as float or, if they are double, double. Nearest
// copies elements of any type, of `item` bytes.
enum Storage : int64_t { kPlain = 0, kBfloat16 = 1, kFloat16 = 2 };

// All of a call but its tensors. The fields and their order are those of load.py.
// Axes are in the order of coordinates: x, y, z; in 2-D z has one pixel.
struct Plan {
  int64_t grid;                 // 1: maps are grids, 0: matrices
  int64_t projective;           // matrices are square
  int64_t images, maps, fills;  // batch of each; fills may be 0. All divide batch.
  int64_t batch;                // of the output
  int64_t channels, dims;
  int64_t size[3], out_size[3];
  int64_t kernel, padding, align_corners;
  int64_t storage, item, channels_last;  // of image, output and their gradients
  int64_t single;                        // maps that are double were made in single precision
  int64_t threads;
  int64_t level;  // highest instruction set allowed: 0 baseline, 1 AVX2, 2 AVX-512
};

constexpr int kGroup = 16;        // pixels handled together, for any width of vectors
constexpr int kChannelGroup = 8;  // interleaved copies have a multiple of so many channels
constexpr int64_t kMostChannels = 512, kMostPlanes = 64;  // worked on together
constexpr int kMostPad = 4;
constexpr int kMostTaps = 4;          // along an axis
constexpr int kRun = 1024;            // pixels of a plane that are located at a time
constexpr int kChunk = 128;           // pixels of a row that are kept interleaved at a time
constexpr int64_t kPrefetchRows = 3;  // prefetch distance, in rows of the output

// Pixels <-> normalised coordinates, as in coordinates.py.
struct Axis {
  double half, centre;          // of the image: u = x * half + centre
  double out_centre, out_half;  // of the output: x = (j - out_centre) / out_half; 0 if that is 0

  STN_INLINE Axis(int64_t n, int64_t out_n, bool align_corners) {
    const double shrink = align_corners ? 1 : 0;
    out_half = (double(out_n) - shrink) / 2;
    half = (double(n) - shrink) / 2;
    centre = (double(n) - 1) / 2;
    out_centre = (double(out_n) - 1) / 2;
  }
  // What `scale` pixels a normalised unit come to from one output pixel to the next, rounded once:
  // it is exactly 1 at equal sizes. A single pixel has no extent: it is at 0.
  STN_INLINE double per_step(double scale) const { return out_half > 0 ? scale / out_half : 0; }
};

template <class T>
struct Call {
  Plan p;
  const void *image, *grad;
  const T *map, *fill;
  void *out, *grad_image;
  T* grad_map;
  const void* raw_fill = nullptr;  // nearest: fill values of the image's type

  // How the work is cut: a function of the shapes alone, never of the number of threads, so that
  // results are the same bits for any number of them.
  int64_t tile_rows = 0, tiles = 0;  // output rows of a task, tasks of an output
  int64_t block = 0;                 // channels worked on together
  int64_t pad = 0;                   // pixels that copies are extended by; 0: no copies
  bool interleaved = false;          // copies have the channels of a pixel side by side
  bool plane_by_plane = false;       // planes are copied and read one by one, at the same places
  bool prefetches = false;           // rows of planes in place are prefetched
  int64_t strips = 1;                // tasks of the gradient to one image, each with its own sum

  STN_INLINE int64_t plane() const { return p.size[0] * p.size[1] * p.size[2]; }
  STN_INLINE int64_t rows() const { return p.out_size[1] * p.out_size[2]; }
  STN_INLINE int64_t out_plane() const { return p.out_size[0] * rows(); }
  // of a copy: from row to row, from slice to slice, and in all
  STN_INLINE int64_t stride() const { return p.size[0] + 2 * pad; }
  STN_INLINE int64_t slice() const { return stride() * (p.size[1] + 2 * pad); }
  STN_INLINE int64_t copied() const { return slice() * (p.dims == 3 ? p.size[2] + 2 * pad : 1); }
  STN_INLINE int64_t matrix_rows() const { return p.dims + p.projective; }
  STN_INLINE int64_t matrix_size() const { return matrix_rows() * (p.dims + 1); }

  // consecutive outputs share an image (a map, a fill value), where there are fewer of them
  STN_INLINE int64_t image_of(int64_t b) const { return b / (p.batch / p.images); }
  STN_INLINE const T* map_of(int64_t b) const {
    return map + b / (p.batch / p.maps) * (p.grid ? out_plane() * p.dims : matrix_size());
  }
  STN_INLINE T fill_of(int64_t b, int64_t c) const {
    return p.fills ? fill[b / (p.batch / p.fills) * p.channels + c] : T(0);
  }
  // computing with what lies in memory as it is
  STN_INLINE bool as_stored() const { return p.storage == kPlain && !p.channels_last; }
  STN_INLINE bool affine() const { return !p.grid && !p.projective; }
  STN_INLINE Axis axis(int k) const { return Axis(p.size[k], p.out_size[k], p.align_corners); }
};

STN_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Which pixel of n stands at place i of the extended axis; -1: the fill value.
STN_INLINE int64_t pixel_at(int64_t i, int64_t n, int64_t padding) {
  if (i >= 0 && i < n) return i;
  if (padding == kConstant) return -1;
  if (padding == kBorder || n == 1) return i < 0 ? 0 : n - 1;
  const int64_t period = padding == kWrap ? n : padding == kReflection ? 2 * n : 2 * n - 2;
  i %= period;
  if (i < 0) i += period;
  return i < n ? i : (padding == kReflection ? 2 * n - 1 : 2 * n - 2) - i;
}

// This thread's own memory for copies and sums, at least that many bytes; kept.
void* scratch(size_t bytes);

}  // namespace stn
