// What a call is: shapes, pointers, how it is cut into tasks. Shared by all instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// Everything here and in the .inc.h files is inlined into the passes: a copy left standing by
// itself might be compiled for AVX-512 and then be the one that the linker keeps for all.
#define STN_INLINE inline __attribute__((always_inline))

namespace stn {

enum Kernel : int64_t { kNearest = 0, kBilinear = 1 };
// zeros and fill are one padding; reflection is mirror when the corners are aligned
enum Padding : int64_t { kConstant = 0, kBorder = 1, kReflection = 2, kMirror = 3, kWrap = 4 };

// All of a call but its tensors. The fields and their order are those of run.py.
struct Plan {
  int64_t grid;                   // 1: maps are grids, 0: matrices
  int64_t images, maps, fills;    // batch of each; fills may be 0. All divide batch.
  int64_t batch;                  // of the output
  int64_t channels, height, width, out_height, out_width;
  int64_t kernel, padding, align_corners;
  int64_t threads;
  int64_t level;                  // highest instruction set allowed: 0 baseline, 1 AVX2, 2 AVX-512
};

constexpr int kChunk = 512;  // pixels whose taps are kept at a time: they stay in the L1 cache
constexpr int kSlack = 16;   // vectors may be written that far over a chunk's end
constexpr int kPad = 2;      // pixels that a copy of a plane is extended by on every side

template <class T>
struct Call {
  Plan p;
  const T *image, *map, *fill, *grad;
  T *out, *grad_image, *grad_map;
  double* parts;  // the tiles' parts of the gradient to the matrices, 6 numbers each

  // How the work is cut: a function of the shapes alone, never of the number of threads, so that
  // results are the same bits for any number of them.
  int64_t tile_rows, tiles;     // output rows of a task, tasks of an output
  int64_t block;                // channels of which padded copies are held together
  int64_t image_block;          // channels of one task of the gradient to the image
  bool padded;                  // read from extended copies of the planes: no bounds tests

  Call(const Plan& plan, const T* image, const T* map, const T* fill, const T* grad, T* out,
       T* grad_image, T* grad_map)
      : p(plan), image(image), map(map), fill(fill), grad(grad), out(out),
        grad_image(grad_image), grad_map(grad_map), parts(nullptr) {}

  STN_INLINE int64_t plane() const { return p.height * p.width; }
  STN_INLINE int64_t out_plane() const { return p.out_height * p.out_width; }
  STN_INLINE int64_t stride() const { return padded ? p.width + 2 * kPad : p.width; }
  // of a padded plane: behind it is one more cell of 2 x 2 that non-finite coordinates read
  STN_INLINE int64_t cell() const { return (p.height + 2 * kPad) * stride(); }
  STN_INLINE int64_t padded_plane() const { return cell() + stride() + 2; }

  // consecutive outputs share an image (a map, a fill value), where there are fewer of them
  STN_INLINE int64_t image_of(int64_t b) const { return b / (p.batch / p.images); }
  STN_INLINE const T* map_of(int64_t b) const {
    const int64_t size = p.grid ? out_plane() * 2 : 6;
    return map + b / (p.batch / p.maps) * size;
  }
  STN_INLINE T fill_of(int64_t b, int64_t c) const {
    return p.fills ? fill[b / (p.batch / p.fills) * p.channels + c] : T(0);
  }
};

// Pixels <-> normalised coordinates, as in coordinates.py.
struct Axis {
  double half, centre;          // of the image: u = x * half + centre
  double out_centre, per_step;  // of the output: x = (j - out_centre) * per_step
  double ratio;                 // half * per_step, rounded once: exactly 1 at equal sizes

  STN_INLINE Axis(int64_t n, int64_t out_n, bool align_corners) {
    const double shrink = align_corners ? 1 : 0, out_half = (double(out_n) - shrink) / 2;
    half = (double(n) - shrink) / 2;
    centre = (double(n) - 1) / 2;
    out_centre = (double(out_n) - 1) / 2;
    per_step = out_half > 0 ? 1 / out_half : 0;  // a single pixel has no extent: it is at 0
    ratio = out_half > 0 ? half / out_half : 0;
  }
};

// This thread's own memory for padded copies and sums, at least that many bytes; kept.
void* scratch(size_t bytes);

}  // namespace stn
