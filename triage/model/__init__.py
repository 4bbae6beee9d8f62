"""What a trained model is and how it is read: release folders, text to ids, the encoder and the linear stage."""
