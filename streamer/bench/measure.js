/**
 * Reads the frame numbers of the camera's preview and of the result, as they are shown.
 *
 * The body of a function that WebDriver calls with: columns and rows of blocks, their width and
 * height as parts of the picture. Samples gather in window.bench.preview and window.bench.remote as
 * [word of all blocks or -1, when it was seen, captureTime or null]. A frame counts as seen when
 * this page could read its pixels, or when it was expected on the screen if that is later: Chromium
 * gives a frame that is shown at once its time of arrival for expectedDisplayTime, which is early.
 */
const [columns, rows, widthPart, heightPart] = arguments;
const SAMPLES = 4;
const [UNSURE_FROM, UNSURE_TO] = [96, 160];

function wordOf(pixels) {
  let word = 0;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      let sum = 0;
      for (const [x, y] of [[1, 1], [1, 2], [2, 1], [2, 2]]) {
        sum += pixels[4 * ((row * SAMPLES + y) * columns * SAMPLES + column * SAMPLES + x) + 1];
      }
      if (sum > 4 * UNSURE_FROM && sum < 4 * UNSURE_TO) return -1;
      word = 2 * word + (sum > 4 * 128 ? 1 : 0);
    }
  }
  return word;
}

function watch(id) {
  const video = document.getElementById(id);
  const canvas = new OffscreenCanvas(columns * SAMPLES, rows * SAMPLES);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  const seen = [];
  function look(_, shown) {
    const seenAt = Math.max(performance.now(), shown.expectedDisplayTime);
    video.requestVideoFrameCallback(look);
    const [width, height] = [video.videoWidth * widthPart, video.videoHeight * heightPart];
    context.drawImage(video, 0, video.videoHeight - height, width, height, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    seen.push([wordOf(data), seenAt, shown.captureTime ?? null]);
  }
  video.requestVideoFrameCallback(look);
  return seen;
}

window.bench = { ...window.bench, preview: watch("preview"), remote: watch("remote") };
