// Detect the objects of an image with a file of `centernet2 export --output model.xml`.
//
//     detect model.xml photo.ppm [threshold]
//
// It prints label, score and box (x1 y1 x2 y2, in pixels of the image) of each detection, best
// first. The image is a binary PPM file, of which OpenCV's cv::imread would be another source.

#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>

#include <openvino/openvino.hpp>

constexpr float DEFAULT_THRESHOLD = 0.3F;

// Read an image as [1, 3, height, width] RGB.
ov::Tensor read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    size_t width = 0, height = 0, maximum = 0;
    file >> magic >> width >> height >> maximum;
    file.get();  // the white space before the pixels
    if (!file || magic != "P6" || maximum != 255)
        throw std::runtime_error(path + " is no binary PPM file of 8 bits per channel");
    std::string pixels(3 * width * height, '\0');
    if (!file.read(pixels.data(), static_cast<std::streamsize>(pixels.size())))
        throw std::runtime_error(path + " ends too early");
    ov::Tensor images(ov::element::u8, {1, 3, height, width});
    auto* planes = images.data<uint8_t>();
    const size_t area = width * height;
    for (size_t i = 0; i < area; ++i)
        for (size_t c = 0; c < 3; ++c) planes[c * area + i] = static_cast<uint8_t>(pixels[3 * i + c]);
    return images;
}

int main(int argc, char** argv) try {
    if (argc < 3) throw std::runtime_error("usage: detect model.xml photo.ppm [threshold]");
    const float threshold = argc > 3 ? std::stof(argv[3]) : DEFAULT_THRESHOLD;
    ov::Core core;
    // the precision is the choice of the export
    auto model = core.compile_model(argv[1], "CPU", ov::hint::inference_precision(ov::element::f32));
    auto request = model.create_infer_request();
    request.set_tensor("images", read_ppm(argv[2]));
    request.infer();
    const auto* boxes = request.get_tensor("boxes").data<float>();
    const auto* scores = request.get_tensor("scores").data<float>();
    const auto* labels = request.get_tensor("labels").data<int64_t>();
    const auto count = request.get_tensor("count").data<int64_t>()[0];  // the other rows are padding
    std::cout << std::setprecision(std::numeric_limits<float>::max_digits10);
    for (int64_t i = 0; i < count && scores[i] >= threshold; ++i) {
        std::cout << labels[i] << ' ' << scores[i];
        for (int64_t k = 4 * i; k < 4 * i + 4; ++k) std::cout << ' ' << boxes[k];
        std::cout << '\n';
    }
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 2;
}
